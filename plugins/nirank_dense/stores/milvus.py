"""The generator `milvus`: dense vectors in Milvus."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from nirank.errors import BadInput
from nirank_dense.stores import milvus_rows
from nirank_dense.stores.search import StoreSearch
from nirank_dense.stores.store import Patience, Structure, checked_name, secret

VARIABLE, TOKEN = "NIRANK_MILVUS_URI", "NIRANK_MILVUS_TOKEN"


@dataclass(frozen=True)
class Cluster(Patience):
    """Settings of a Milvus.

    uri        its address without a password, as in "http://host:19530"
    variable   the environment variable with an address that is not written down, where `uri` is not set
    token      the environment variable with "user:password", or with a key; without it none is sent
    """

    tries: int = 14  # Milvus takes a minute to start after it was killed
    uri: str | None = None
    variable: str = VARIABLE
    token: str = TOKEN

    def address(self) -> tuple[str, str]:
        """Address and token, read where they are needed. Raises `BadInput` without an address."""
        uri = secret(self.variable) if self.uri is None else self.uri
        if not uri:
            raise BadInput(f"no Milvus is named: set `uri`, or the environment variable {self.variable}.")
        if self.uri is not None and "@" in self.uri:
            raise BadInput(
                "`uri` is written to results and manifests, and has a password or a user: put them into the "
                f"environment variable {self.token}, as 'user:password'."
            )
        if urlsplit(uri).scheme not in ("http", "https"):
            raise BadInput("the address of Milvus begins with http:// or https://.")
        return uri, secret(self.token) or ""


class MilvusSearch(StoreSearch):
    """Search in Milvus, version 2.3 or newer; by inner product.

    Raises `MissingDependency` without pymilvus.
    """

    kind = "milvus"

    def __init__(
        self,
        structure: Structure = Structure(),
        cluster: Cluster = Cluster(),
        chunk: int = 1024,
        table: str | None = None,
    ) -> None:
        milvus_rows.pymilvus()  # now, not when the corpus has been encoded
        super().__init__(structure, chunk, table)
        if cluster.uri is not None:
            cluster.address()  # so that a password is refused before it is written anywhere
        self.cluster = cluster

    def store_of(self, table: str) -> milvus_rows.Rows:
        """The collection of this name."""
        return milvus_rows.Rows(checked_name(table), self.cluster.address, self.structure, self.cluster)
