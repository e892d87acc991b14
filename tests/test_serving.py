"""The server's API: searches, explanations, documents and pictures over HTTP, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
from urllib.parse import quote

import numpy as np
import pytest

import nirank
from nirank.data import images

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from PIL import Image

from nirank.data.thumbnails import jpeg
from nirank.experiments.found import snippet_json
from nirank.pipeline.snippets import snippets
from nirank.serving import answers, pictures, searching
from nirank.serving.app import application
from nirank.serving.options import Options
from nirank.serving.searching import Wish
from nirank.serving.state import Holder, State

IDS = ["a/b", "<b>bold</b>", "c d", "é", "5"]
TEXTS = ["a small cat on a mat", "a cat and a cat", "the dog ran over a bridge", "a small dog and a small cat", "mat"]
FIELDS = {"title": ["one", "two", None, "four", "<script>alert(1)</script>"], "year": [2001, 2002, 2003, None, 2005]}


def over(corpus, **pipelines):
    """A client of a server of these pipelines."""
    return client_of(State("toy", corpus, pipelines))


def client_of(state, **options):
    return TestClient(application(Holder(state), Options(**options)), "http://localhost")


@pytest.fixture(scope="module")
def state():
    corpus = nirank.Documents(IDS, TEXTS, FIELDS)
    return State(
        "toy", corpus, {"bm25": nirank.parse("bm25"), "ql": nirank.parse("ql"), "cut": nirank.parse("bm25 % 2")}
    )


@pytest.fixture(scope="module")
def client(state):
    with client_of(state) as client:
        yield client


def results(response):
    """The results of a search by pipeline, whose answer is as OpenAPI describes it."""
    assert response.status_code == 200, response.text
    answers.SearchAnswer.model_validate(response.json())
    return {each["pipeline"]: each for each in response.json()["results"]}


def refused(response, status, *said):
    """The detail of an answer that refuses, and no traceback."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["detail"]
    assert all(each in response.json()["detail"] for each in said), response.text
    assert "Traceback" not in response.text
    return response


# What is found


def test_a_search_finds_what_the_pipeline_finds(client, state):
    found = results(client.get("/search", params={"q": "small cat", "k": 3}))
    assert [*found] == ["bm25", "ql", "cut"]
    for name, result in found.items():
        docs, scores = (state.pipelines[name] % 3).search("small cat", state.corpus)[0]
        assert [hit["id"] for hit in result["hits"]] == state.corpus.ids.take(docs)
        assert [hit["score"] for hit in result["hits"]] == scores.tolist()
        assert [hit["rank"] for hit in result["hits"]] == list(range(1, len(docs) + 1))


def test_a_search_says_at_which_rank_the_other_pipelines_have_a_document(client):
    found = results(client.post("/search", json={"query": "small cat", "pipelines": ["bm25", "cut"]}))
    ranks = {hit["id"]: hit["rank"] for hit in found["cut"]["hits"]}
    assert len(ranks) == 2
    for hit in found["bm25"]["hits"]:
        assert hit["places"] == {"cut": ranks.get(hit["id"])}


def test_pages_follow_one_another(client):
    whole = results(client.get("/search", params={"q": "a cat mat dog", "pipeline": "bm25"}))["bm25"]
    assert not whole["more"]
    paged = []
    for offset in range(0, 6, 2):
        page = results(
            client.get("/search", params={"q": "a cat mat dog", "pipeline": "bm25", "k": 2, "offset": offset})
        )
        assert page["bm25"]["more"] == (offset + 2 < whole["found"])
        paged += page["bm25"]["hits"]
    assert [(hit["rank"], hit["id"], hit["score"]) for hit in paged] == [
        (hit["rank"], hit["id"], hit["score"]) for hit in whole["hits"]
    ]


def test_a_condition_narrows_the_search(client):
    found = results(client.get("/search", params={"q": "cat", "pipeline": "bm25", "where": "year >= 2002"}))
    assert [hit["id"] for hit in found["bm25"]["hits"]] == ["<b>bold</b>"]


def test_fields_are_shown_as_they_are_and_only_those_asked_for(client):
    found = results(client.get("/search", params={"q": "mat", "pipeline": "bm25", "field": "year"}))["bm25"]["hits"]
    assert [hit["fields"] for hit in found] == [{"year": 2005}, {"year": 2001}]
    assert found[0]["title"] == "<script>alert(1)</script>"
    everything = results(client.get("/search", params={"q": "dog", "pipeline": "bm25"}))["bm25"]["hits"]
    assert {hit["id"]: hit["fields"] for hit in everything} == {
        "c d": {"title": None, "year": 2003},
        "é": {"title": "four", "year": None},
    }


def test_a_snippet_marks_the_words_of_the_query(client, state):
    (hit, *_) = results(client.get("/search", params={"q": "cats", "pipeline": "bm25"}))["bm25"]["hits"]
    ((part,),) = snippets(nirank.Queries.of("cats"), nirank.Candidates.of([[1]], corpus=state.corpus))
    assert hit["snippet"] == snippet_json(part)
    assert [TEXTS[1][start:stop] for start, stop in hit["snippet"]["matches"]] == ["cat", "cat"]
    (bare, *_) = results(client.get("/search", params={"q": "cats", "snippets": False}))["bm25"]["hits"]
    assert bare["snippet"] is None


def test_the_time_of_each_stage_is_told(client):
    told = results(client.get("/search", params={"q": "cat"}))["bm25"]["milliseconds"]
    assert [stage["stage"] for stage in told["stages"]] == ["generate bm25"]
    assert 0 < told["stages"][0]["milliseconds"] <= told["total"]


def test_a_document_finds_others_of_its_kind(client):
    found = results(client.post("/search", json={"document": "é", "pipelines": ["bm25"]}))["bm25"]["hits"]
    assert found[0]["id"] == "é"
    assert len(found) > 1


def test_nothing_is_found_for_no_words(client):
    for query in ("", "   ", "\0", "zzz", "\N{WHITE SMILING FACE}", "'\"; drop table"):
        assert results(client.post("/search", json={"query": query}))["bm25"]["hits"] == []


def test_plain_python_answers_as_the_server_does(client, state):
    served = client.post("/search", json={"query": "small cat", "k": 2, "where": "year > 2000"}).json()
    plain = searching.search(state, "small cat", wish=Wish(2, where="year > 2000"))
    for answer in (served, plain):
        for result in answer["results"]:
            del result["milliseconds"]
    assert plain == json.loads(json.dumps(served))


# Why, and what


def test_an_explanation_adds_up_to_the_score(client, state):
    (hit, *_) = results(client.get("/search", params={"q": "small cat"}))["bm25"]["hits"]
    asked = {"query": "small cat", "pipeline": "bm25", "document": hit["id"]}
    told = client.post("/explain", json=asked)
    answers.ExplainAnswer.model_validate(told.json())
    told = told.json()
    assert told["score"] == hit["score"] == pytest.approx(sum(part["score"] for part in told["explanation"]["parts"]))
    assert told["text"] == TEXTS[IDS.index(hit["id"])]
    assert told["version"] == state.version


@pytest.mark.parametrize("name", IDS)
def test_a_document_is_found_by_whatever_its_id_is(client, name):
    given = client.get(f"/documents/{quote(name, safe='')}").json()
    answers.DocumentAnswer.model_validate(given)
    place = IDS.index(name)
    assert (given["id"], given["text"], given["title"]) == (name, TEXTS[place], FIELDS["title"][place])
    assert given["fields"] == {key: values[place] for key, values in FIELDS.items()}


def test_what_is_served_is_told(client, state):
    about = client.get("/about").json()
    assert about["pipelines"][2] == {"name": "cut", "expression": "bm25 % 2"}
    assert (about["documents"], about["fields"], about["images"]) == (5, ["title", "year"], False)
    assert about["version"] == state.version == client.get("/health").json()["version"]
    assert client.get("/ready").json()["status"] == "ok"


# Pictures


class Red:
    """Finds the images that are as red as the query."""

    def build(self, corpus, folder, encode):
        pass

    def open(self, corpus, folder):
        self.reds = np.array([_red(content) for content in corpus], np.float32)

    index_key = {"index": "red"}

    def generate(self, queries, k):
        scores = np.array([-np.abs(self.reds - _red(content)) for content in queries.contents], np.float32)
        return nirank.Candidates.from_scores(scores, k)


def _red(content):
    return np.asarray(images.read(content))[..., 0].mean()


def _png(picture):
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _url(content, kind="png"):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        images.drawn(number, 400, 300).save(path)
    paths.append(folder / "broken.png")
    images.drawn(9, 30, 30).save(paths[-1])
    corpus = nirank.Documents(["one", "../two", "three", "four", "broken"], paths)
    state = State("gallery", corpus, {"red": nirank.load(Red(), "red") % 10})
    with client_of(state) as client:
        yield client, paths


def test_an_image_finds_itself(gallery):
    client, paths = gallery
    for name, path in zip(["one", "../two", "three", "four"], paths, strict=False):
        (first, *_) = results(client.post("/search", json={"image": _url(path.read_bytes())}))["red"]["hits"]
        assert (first["id"], first["snippet"], first["title"]) == (name, None, None)
        assert first["image"] == f"/images/{quote(name, safe='')}"


def test_a_document_with_an_image_finds_others(gallery):
    client, _ = gallery
    assert results(client.post("/search", json={"document": "../two"}))["red"]["hits"][0]["id"] == "../two"


def test_a_small_copy_is_made_once_and_told_by_its_tag(gallery, monkeypatch):
    client, _ = gallery
    made = []
    monkeypatch.setattr(pictures.thumbnails, "jpeg", lambda *given: made.append(given) or jpeg(*given))
    small = client.get("/images/..%2Ftwo", params={"side": 100})
    picture = Image.open(io.BytesIO(small.content))
    assert (small.headers["content-type"], picture.format, picture.size) == ("image/jpeg", "JPEG", (128, 96))
    again = client.get("/images/..%2Ftwo", params={"side": 128})
    assert (again.content, again.headers["etag"]) == (small.content, small.headers["etag"])
    known = client.get("/images/..%2Ftwo", params={"side": 120}, headers={"if-none-match": small.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    other = client.get("/images/one", params={"side": 128})
    assert other.headers["etag"] != small.headers["etag"]
    assert [given[1:] for given in made] == [(128,), (128,)]


def test_an_image_that_is_damaged_or_gone_is_not_found(gallery):
    client, paths = gallery
    whole = paths[-1].read_bytes()
    paths[-1].write_bytes(whole[: len(whole) // 2])
    refused(client.get("/images/broken"), 404, "broken")
    paths[-1].unlink()
    refused(client.get("/images/broken?side=64"), 404, "broken")
    for name in ("five", "..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "%00", "%ff"):
        refused(client.get(f"/images/{name}"), 404, "document")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "data URL"),
        ("http://example.org/a.png", "data URL"),
        ("file:///etc/passwd", "data URL"),
        ("data:text/plain;base64,aGVsbG8=", "data URL"),
        ("data:image/png;base64,!!!", "base64"),
        ("data:image/png;base64,é", "base64"),
        (_url(b"no image at all"), "cannot be read as an image"),
        (_url(b""), "cannot be read as an image"),
        (_url(_png(images.drawn(1, 60, 60))[:-900]), "cannot be read as an image"),
    ],
)
def test_an_image_that_is_none_is_refused(gallery, url, said):
    client, _ = gallery
    refused(client.post("/search", json={"image": url}), 422, said)


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(gallery):
    client, _ = gallery
    bomb = _png(Image.new("1", (8_000, 8_000)))
    assert len(bomb) < 100_000
    refused(client.post("/search", json={"image": _url(bomb)}), 422, "pixels")


def test_an_image_is_refused_by_a_pipeline_that_reads_texts(client):
    refused(client.post("/search", json={"image": _url(_png(images.drawn(1)))}), 422, "text")
