"""Plans for large corpora: arithmetic by hand, rates as they stand in the results, the page as it is printed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from nirank import planning
from nirank.cli import app
from nirank.data import Documents
from nirank.errors import BadInput, NirankError
from nirank.execution import indexes
from nirank.plugins import Component
from tests import documents

PAGE = documents.DOCS / "how-to" / "a-billion-documents.md"


def _printed(*arguments):
    done = CliRunner().invoke(app, ["plan", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_billion_documents_cost_what_arithmetic_by_hand_says():
    made = planning.plan(1e9)
    assert made.encoding_hours == pytest.approx(11.548e-3 * 1e9 / 3600)  # 3,208
    assert made.exact_bytes == 1_536_000_000_000 + 384_000_000_000 + 192_000_000_000 + 24_000_000_000
    assert made.bm25_bytes == pytest.approx(46.62e9)
    assert made.indexing_hours("bm25") == pytest.approx(29_100 / 3600)
    assert made.indexing_hours("exact") == pytest.approx(12_960 / 3600)
    assert made.shards == 100
    assert made.milliseconds("bm25") == pytest.approx(1000 / 776.4)
    assert made.milliseconds("exact") == pytest.approx(10 * 1000 / 483.4)
    assert made.network_bytes == 1_200_000
    assert (made.cores("bm25"), made.cores("exact")) == (100, 300)  # .129 and 2.07 a shard, rounded up


def test_a_small_uneven_plan_with_rates_of_ones_own():
    rates = {"encode": 2, "bm25_index": 3.6, "bm25_bytes": 100, "bm25_search": 500, "exact_search": 100}
    made = planning.plan(2_500_001, dim=192, shard=1e6, k=10, queries=1000, settings=rates)
    assert made.shards == 3
    assert made.encoding_hours == pytest.approx(2_500_001 * 0.002 / 3600)
    assert made.indexing_hours("bm25") == pytest.approx(2.500001 * 3.6 / 3600)
    assert made.indexing_hours("exact") == pytest.approx(2.500001 * 12.96 / 2 / 3600)
    assert made.exact_bytes == 2_500_001 * (192 * 5 + 96 + 24)
    assert made.bm25_bytes == 250_000_100
    assert made.milliseconds("bm25") == pytest.approx(2 / 10)  # a tenth of the documents that it is measured over
    assert made.milliseconds("exact") == pytest.approx(10 / 2)  # half of the dimensions
    assert (made.cores("bm25"), made.cores("exact")) == (3, 15)
    assert made.network_bytes == 3 * 10 * 12


def test_a_corpus_smaller_than_a_shard_is_one():
    made = planning.plan(1000, shard=1e6)
    assert made.shards == 1
    assert made.milliseconds("exact") == pytest.approx(1000 / 483.4 / 1000)
    shards = next(line for line in planning.lines(made) if line.startswith("  shards"))
    assert shards.endswith("1,000 / 1,000,000 = 1, each of 2.183 MB for both")  # 1,000 x (2,136 + 46.62) B


def test_the_exact_index_has_the_bytes_that_are_planned(tmp_path):
    pytest.importorskip("numba")
    from nirank_dense.exact.search import ExactSearch

    class Encoder:
        vectors = "dense"
        index_key = {"index": "planned"}

        def encode(self, queries):
            return self.encode_documents(queries.contents)

        def encode_documents(self, contents):
            return np.random.default_rng(1).normal(size=(len(contents), 384)).astype(np.float32)

    corpus = Documents([f"d{row}" for row in range(2000)], ["text"] * 2000)
    indexes.prepare(Component("exact", ExactSearch()), corpus, Component("encoder", Encoder()), tmp_path / "index")
    found = sum(path.stat().st_size for path in (tmp_path / "index").rglob("*.npy"))
    assert found == pytest.approx(planning.plan(2000).exact_bytes, rel=0.01)


def test_rates_are_those_of_the_results():
    def row(file, start):
        text = (documents.ROOT / file).read_text(encoding="utf-8")
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
        return [float(cell.replace(",", "").split()[0]) for cell in line.split("|")[3:-1] if cell.strip()]

    value = {name: rate.value for name, rate in planning.RATES.items()}
    source = {name: rate.source for name, rate in planning.RATES.items()}
    assert row(source["bm25_index"], "index, processor time")[-1] / 10 == value["bm25_index"]
    assert row(source["bm25_bytes"], "index, on disk")[-1] / 10 == value["bm25_bytes"]
    assert row(source["bm25_search"], "k=10, one by one")[-1] == value["bm25_search"]
    assert row(source["exact_index"], "index, processor time")[-1] == value["exact_index"]
    assert row(source["exact_search"], "k=10, batches of 32")[-1] == value["exact_search"]
    encoding = (documents.ROOT / source["encode"]).read_text(encoding="utf-8")
    assert re.search(r"^\| encode 1,000 descriptions, float32 \| nirank \| 11\.5 s \|", encoding, re.MULTILINE)
    assert "encode 1,000 descriptions: 47.9 tokens a text" in encoding
    assert round(value["encode"], 1) == 11.5


def test_every_rate_is_printed_with_its_source_and_one_of_ones_own_as_given():
    printed = _printed("--documents", "1e6", "--set", "encode=2.5")
    for name, rate in planning.RATES.items():
        assert re.search(rf"^  {name} .*\({re.escape(rate.source)}\)$", printed, re.MULTILINE) or name == "encode"
    assert re.search(r"^  encode .*2\.5 ms: .*\(given\)$", printed, re.MULTILINE)
    assert "encode   1,000,000 x 2.5 ms = 0.7 core-hours" in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"documents": 1.5}, "documents = 1.5: documents are counted"),
        ({"documents": float("nan")}, "documents = nan"),
        ({"documents": float("inf")}, "documents = inf"),
        ({"documents": 0}, "documents = 0: a plan needs a number above 0"),
        ({"documents": 9, "shard": -1}, "shard = -1"),
        ({"documents": 9, "queries": 1e308}, "queries = 1e+308: a plan needs a number above 0, from 1e-15 to 1e+30"),
        ({"documents": 9, "settings": {"bm25_search": 1e-320}}, "bm25_search = 1e-320"),
        ({"documents": 9, "dim": 0}, "dim = 0"),
        ({"documents": 9, "queries": float("nan")}, "queries = nan"),
        ({"documents": 9, "settings": {"encode": 0.0}}, "encode = 0.0"),
        ({"documents": 9, "settings": {"decode": 1.0}}, "There is no rate 'decode'. Did you mean 'encode'?"),
    ],
)
def test_what_is_no_number_of_things_is_refused(arguments, told):
    with pytest.raises(NirankError, match=re.escape(told)):
        planning.plan(**arguments)


@pytest.mark.parametrize("text", ["encode", "encode=", "encode=fast", "=", ""])
def test_a_setting_that_is_none_is_refused(text):
    with pytest.raises(BadInput, match="sets no rate"):
        planning.settings([text])


def test_the_page_has_what_the_command_prints():
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^```sh\nnirank plan (.+)\n```\n\n```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(shown) == 1
    for arguments, printed in shown:
        assert _printed(*arguments.split()) == printed
