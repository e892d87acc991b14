"""A plan for a large corpus: what it costs to encode, to keep and to search, from rates measured with few documents.

Every line shows its arithmetic, and every rate where it was measured. Times are those of one core; where nothing else
is said they grow in proportion to the documents. That is a bound above for BM25 (`benchmarks/growth.py` finds exponents
of .3 to .9), and an extrapolation for whatever is larger than what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nirank.errors import BadInput, UnknownName


class Rate(NamedTuple):
    """A measured number, its unit, what it is of, and the file of results that it stands in."""

    value: float
    unit: str
    meaning: str
    source: str


_ENCODING = "benchmarks/results/amd-epyc-25-17-linux.md"
_BM25 = "benchmarks/results/growth-bm25-amd-epyc-25-17-linux.md"
_BM25_BYTES = "benchmarks/results/growth-bm25-amd-epyc-26-2-linux.md"
_EXACT = "benchmarks/results/growth-dense-amd-epyc-25-17-linux.md"

#: The dimensions of the vectors that exact search was measured with.
_DIM = 384
_PER_MILLION = 1_000_000

RATES = {
    "encode": Rate(11.548, "ms", "MiniLM in float32 encodes a text of 48 tokens", _ENCODING),
    "bm25_index": Rate(29.1, "s", "BM25 indexes a million documents of 26 words, measured with 10 million", _BM25),
    "bm25_bytes": Rate(46.62, "B", "the BM25 index has for a document, measured with 10 million", _BM25_BYTES),
    "bm25_search": Rate(776.4, "queries/s", "BM25 answers, k=10, one by one, over 10 million documents", _BM25),
    "exact_index": Rate(12.96, "s", f"exact search indexes a million vectors of {_DIM} dimensions", _EXACT),
    "exact_search": Rate(
        483.4, "queries/s", f"exact search answers, k=10, 32 at once, over a million vectors of {_DIM} dimensions",
        _EXACT,
    ),
}  # fmt: skip
#: The documents that each rate of searching was measured over.
_OVER = {"bm25_search": 10_000_000, "exact_search": 1_000_000}

#: Bytes of an exact index: for a dimension its float32 and its codes, a byte and half of one where there is an even
#: number of them; for a document a scale and two bounds for each of the codes.
_FLOAT, _CODES, _BOUNDS = 4, 1.5, 24
#: Bytes of a result on the network: an ordinal in int64 and a score in float32.
_RESULT = 12

GIVEN = "given"


#: Numbers that a plan is made of: products of some of them are finite still.
_LEAST, _MOST = 1e-15, 1e30


@dataclass(frozen=True)
class Plan:
    """A corpus of `documents`, cut into shards of `shard` documents at most, each searched for `k` results.

    `queries` is how many come a second. `rates` are by their name in `RATES`. Raises `BadInput` for a number that is
    not above 0.
    """

    documents: int
    dim: int
    shard: int
    k: int
    queries: float
    rates: Mapping[str, Rate]

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("documents", "dim", "shard", "k", "queries")}
        for name, value in (numbers | {name: rate.value for name, rate in self.rates.items()}).items():
            if not _LEAST <= value <= _MOST:
                raise BadInput(f"{name} = {value!r}: a plan needs a number above 0, from {_LEAST:g} to {_MOST:g}.")

    @property
    def shards(self) -> int:
        """The number of shards, of which the last may be smaller."""
        return -(-self.documents // self.shard)

    @property
    def encoding_hours(self) -> float:
        """Core-hours to encode all documents."""
        return self.documents * self.rates["encode"].value / 1000 / 3600

    def indexing_hours(self, name: str) -> float:
        """Core-hours to index all documents, by "bm25" or by "exact"."""
        wider = self.dim / _DIM if name == "exact" else 1
        return self.documents / _PER_MILLION * self.rates[f"{name}_index"].value * wider / 3600

    @property
    def exact_bytes(self) -> int:
        """Bytes of the vectors, their codes and their bounds."""
        return self.documents * (math.ceil(self.dim * (_FLOAT + _CODES)) + _BOUNDS)

    @property
    def bm25_bytes(self) -> float:
        """Bytes of the BM25 index."""
        return self.documents * self.rates["bm25_bytes"].value

    def milliseconds(self, name: str) -> float:
        """Milliseconds of one core for a query in one whole shard, by "bm25" or by "exact"."""
        wider = self.dim / _DIM if name == "exact" else 1
        here = min(self.shard, self.documents)
        return 1000 / self.rates[f"{name}_search"].value * here / _OVER[f"{name}_search"] * wider

    def cores(self, name: str) -> int:
        """Cores, over all shards, that the queries of a second keep busy; each shard has one at least."""
        return self.shards * max(1, math.ceil(self.queries * self.milliseconds(name) / 1000))

    @property
    def network_bytes(self) -> int:
        """Bytes that the shards send for one query."""
        return self.shards * self.k * _RESULT


def plan(
    documents: float,
    dim: int = 384,
    shard: float = 10_000_000,
    k: int = 1000,
    queries: float = 100,
    settings: Mapping[str, float] | None = None,
) -> Plan:
    """A plan; `settings` take the place of measured rates. Raises `UnknownName` and `BadInput`."""
    rates = dict(RATES)
    for name, value in (settings or {}).items():
        if name not in rates:
            raise UnknownName("rate", name, rates)
        rates[name] = rates[name]._replace(value=value, source=GIVEN)
    counts = [_whole(name, value) for name, value in (("documents", documents), ("shard", shard))]
    return Plan(counts[0], dim, counts[1], k, queries, rates)


def settings(texts: Sequence[str]) -> dict[str, float]:
    """The rates in texts such as "encode=2.5"; raises `BadInput` for one that does not read so."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise BadInput(f"{text!r} sets no rate: write a name and a number, such as encode=2.5.") from None
    return found


def _whole(name: str, value: float) -> int:
    if not math.isfinite(value) or value != int(value):
        raise BadInput(f"{name} = {value!r}: documents are counted, so this has to be a whole number.")
    return int(value)


def lines(made: Plan) -> Iterator[str]:
    """The plan as it is printed, with its arithmetic and the sources of its rates."""
    yield f"{made.documents:,} documents, vectors of {made.dim} dimensions, {made.queries:,g} queries a second"
    for title, part in (
        ("Encoding and indexing, once", _making(made)),
        ("On disk", _keeping(made)),
        ("Searching, in each shard", _searching(made)),
        ("On the network", _gathering(made)),
        ("Measured, on one core", _sources(made)),
    ):
        yield f"\n{title}"
        yield from (f"  {line}" for line in part)


def _making(made: Plan) -> Iterator[str]:
    millions, wider = f"{made.documents / _PER_MILLION:,g} million", _wider(made)
    encode, bm25, exact = (made.rates[name].value for name in ("encode", "bm25_index", "exact_index"))
    yield f"encode   {made.documents:,} x {encode:g} ms = {made.encoding_hours:,.1f} core-hours"
    yield f"bm25     {millions} x {bm25:g} s = {made.indexing_hours('bm25'):,.1f} core-hours"
    yield f"exact    {millions} x {exact:g} s{wider} = {made.indexing_hours('exact'):,.1f} core-hours"


def _keeping(made: Plan) -> Iterator[str]:
    of_vector = f"({made.dim} x ({_FLOAT} B of a float32 + {_CODES} B of its codes) + {_BOUNDS} B of bounds)"
    yield f"exact    {made.documents:,} x {of_vector} = {_bytes(made.exact_bytes)}"
    yield f"bm25     {made.documents:,} x {made.rates['bm25_bytes'].value:g} B = {_bytes(made.bm25_bytes)}"
    yield f"shards   {made.documents:,} / {made.shard:,} = {made.shards:,}, each of {_bytes(_of_shard(made))} for both"


def _of_shard(made: Plan) -> float:
    return (made.exact_bytes + made.bm25_bytes) * min(made.shard, made.documents) / made.documents


def _searching(made: Plan) -> Iterator[str]:
    here = min(made.shard, made.documents)
    for name, wider in (("bm25", ""), ("exact", _wider(made))):
        rate, took = made.rates[f"{name}_search"].value, made.milliseconds(name)
        larger = f"{here:,} / {_OVER[f'{name}_search']:,}"
        yield f"{name:<8} 1,000 ms / {rate:g} x {larger}{wider} = {took:.3g} ms: {1000 / took:.3g} queries/s a core"
        cores = f"{made.queries:,g} x {took:.3g} ms = {made.queries * took / 1000:.3g}"
        yield f"         cores: {cores}, rounded up, x {made.shards:,} shards = {made.cores(name):,}"


def _gathering(made: Plan) -> Iterator[str]:
    each = _bytes(made.network_bytes)
    yield f"a query  {made.shards:,} shards x {made.k:,} results x {_RESULT} B = {each}"
    yield f"a second {made.queries:,g} x {each} = {_bytes(made.queries * made.network_bytes)}"


def _sources(made: Plan) -> Iterator[str]:
    for name, rate in made.rates.items():
        yield f"{name:<12} {rate.value:g} {rate.unit}: {rate.meaning} ({rate.source})"


def _wider(made: Plan) -> str:
    return "" if made.dim == _DIM else f" x {made.dim} / {_DIM}"


def _bytes(count: float) -> str:
    """A number of bytes in the unit that it is read best in, powers of ten."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:g} B"
