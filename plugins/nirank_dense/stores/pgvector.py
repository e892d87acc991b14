"""The generator `pgvector`: dense vectors in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from nirank.errors import BadInput
from nirank_dense.stores import postgres
from nirank_dense.stores.search import StoreSearch
from nirank_dense.stores.store import Patience, Structure, checked_name, secret

VARIABLE = "NIRANK_PGVECTOR_DSN"


@dataclass(frozen=True)
class Database(Patience):
    """Settings of a database.

    dsn        its address without a password, as in "postgresql://reader@host:5432/vectors"
    variable   the environment variable with an address that is not written down, where `dsn` is not set
    """

    dsn: str | None = None
    variable: str = VARIABLE

    def address(self) -> str:
        """The address, read where it is needed. Raises `BadInput` without one, and for a password in the settings."""
        if self.dsn is None:
            if not (found := secret(self.variable)):
                raise BadInput(f"no database is named: set `dsn`, or the environment variable {self.variable}.")
            return found
        if {"password", "sslpassword"} & postgres.parsed(self.dsn).keys():
            raise BadInput(
                f"`dsn` is written to results and manifests, and has a password: put the address into the environment "
                f"variable {self.variable}, or the password into PGPASSWORD or ~/.pgpass."
            )
        return self.dsn


class PGVector(StoreSearch):
    """Search in PostgreSQL with pgvector, version 0.8 or newer; by inner product.

    Raises `MissingDependency` without psycopg.
    """

    kind = "pgvector"

    def __init__(
        self,
        structure: Structure = Structure(),
        database: Database = Database(),
        chunk: int = 1024,
        table: str | None = None,
    ) -> None:
        postgres.psycopg()  # now, not when the corpus has been encoded
        super().__init__(structure, chunk, table)
        if database.dsn is not None:
            database.address()  # so that a password is refused before it is written anywhere
        self.database = database

    def store_of(self, table: str) -> postgres.Rows:
        """The table of this name."""
        return postgres.Rows(checked_name(table), self.database.address, self.structure, self.database)
