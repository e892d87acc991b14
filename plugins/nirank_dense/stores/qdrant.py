"""The generator `qdrant`: dense vectors in Qdrant."""

from __future__ import annotations

from dataclasses import dataclass

from nirank.errors import BadInput
from nirank.kit import API_KEY, Asking, HTTPClient
from nirank_dense.stores import qdrant_rows
from nirank_dense.stores.search import StoreSearch
from nirank_dense.stores.store import Patience, Structure, checked_name

VARIABLE = "NIRANK_QDRANT"


@dataclass(frozen=True)
class QdrantServer(Patience):
    """Settings of a Qdrant.

    url        its address without a key, as in "http://host:6333"
    variable   the beginning of the names of environment variables: the address in {variable}_URL, where `url` is not
               set; the key in {variable}_API_KEY, which is sent to the host in {variable}_URL alone
    """

    url: str | None = None
    variable: str = VARIABLE

    def client(self) -> HTTPClient:
        """A client of the server. Raises `BadInput` without an address, and for a key or a password in it."""
        asking = Asking(self.timeout, self.tries, self.connections)
        return HTTPClient(self.url, self.variable, asking, API_KEY, extra="qdrant")


class QdrantSearch(StoreSearch):
    """Search in Qdrant, version 1.10 or newer; by inner product, with `kind` hnsw or exact.

    Raises `MissingDependency` without httpx or orjson; `BadInput` for lists of centroids, which Qdrant does not have.
    """

    kind = "qdrant"

    def __init__(
        self,
        structure: Structure = Structure(),
        server: QdrantServer = QdrantServer(),
        chunk: int = 1024,
        table: str | None = None,
    ) -> None:
        qdrant_rows.orjson()  # now, not when the corpus has been encoded
        super().__init__(structure, chunk, table)
        if structure.kind == "ivf_flat":
            raise BadInput("Qdrant has no lists of centroids: set kind to 'hnsw' or to 'exact'.")
        if server.url is not None:
            server.client()  # so that a password is refused before it is written anywhere
        self.server = server

    def store_of(self, table: str) -> qdrant_rows.Rows:
        """The collection of this name."""
        return qdrant_rows.Rows(checked_name(table), self.server.client, self.structure, self.server)
