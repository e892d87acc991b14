"""Documents that come, change and go while they are searched: nothing acknowledged is lost, nobody is disturbed."""

from __future__ import annotations

import json
import threading
import time

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from nirank.errors import BadInput, DamagedFile
from nirank.experiments import workspace
from nirank.files import alone
from nirank.serving import living as living_module
from nirank.serving import running
from nirank.serving.app import application
from nirank.serving.ledger import NotSaved
from nirank.serving.living import Living
from nirank.serving.opening import source
from nirank.serving.options import Options
from nirank.serving.state import Holder

DOCUMENTS = [{"id": f"d{number}", "text": f"fox word{number}", "year": 2000 + number} for number in range(6)]


def _lines(path, documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return f"jsonl:{path}"


@pytest.fixture
def folder(tmp_path):
    """A folder that is searched by BM25."""
    workspace.create(tmp_path / "made", _lines(tmp_path / "docs.jsonl", DOCUMENTS), "bm25")
    return tmp_path / "made"


@pytest.fixture
def living(folder):
    """The documents of the folder, as they change; `versions` has what was opened."""
    return _living(folder)


def _living(folder):
    versions = []
    living = Living(
        folder, workspace.open_folder(folder).corpus, lambda made: versions.append(made) or str(len(versions))
    )
    living.versions = versions
    return living


def _found(folder, query="fox"):
    opened = workspace.open_folder(folder)
    return opened.corpus.ids.take(opened.search(query, 20)[0])


def _ended(task):
    assert task.ended.wait(30)
    return task.status


def test_documents_are_added_changed_and_taken_out_in_the_order_in_which_that_is_asked_for(living, folder):
    with living.running():
        living.put([{"id": "new", "text": "fox"}, {"id": "d1", "text": "a changed fox", "year": 1990}])
        living.remove("d0")
        living.put([{"id": "d0", "text": "back again, fox"}])
        assert _ended(living.remove("d5")) == "done"
    opened = workspace.open_folder(folder)
    assert list(opened.corpus.ids) == ["d1", "d2", "d3", "d4", "new", "d0"]
    assert opened.corpus[[0, 5]] == ["a changed fox", "back again, fox"]
    assert opened.corpus.values("year").to_pylist() == [1990, 2002, 2003, 2004, None, None]
    assert not [path for path in living.kept.iterdir() if path.name != ".lock"]


def test_what_comes_of_changes_is_what_an_index_made_anew_would_find(living, folder, tmp_path):
    with living.running():
        _ended(living.put([{"id": "new", "text": "word3 fox"}, {"id": "d1", "text": "fox word3"}]))
    now = [*DOCUMENTS, {"id": "new", "text": "word3 fox"}]
    now[1] = {"id": "d1", "text": "fox word3"}
    fresh = workspace.create(tmp_path / "fresh", _lines(tmp_path / "now.jsonl", now), "bm25")
    docs, scores = living.versions[-1].search("fox word3", 20)
    assert [docs.tolist(), scores.tolist()] == [each.tolist() for each in fresh.search("fox word3", 20)]


def test_what_waits_is_put_together_in_one_version(living):
    tasks = [living.put([{"id": f"new{number}", "text": "fox"}]) for number in range(20)]
    with living.running():
        assert {_ended(task) for task in tasks} == {"done"}
    assert len(living.versions) == 1


def test_what_was_acknowledged_and_not_done_is_done_by_the_next_process(living, folder):
    task = living.put([{"id": "new", "text": "fox"}])  # nothing runs, as after a kill
    living.remove("d0")
    (living.kept / "1.unfinished").write_text('{"cha')  # of one that was killed before it answered
    after = _living(folder)
    with after.running():
        assert _ended(after.task(task.name)) == "done"
    assert sorted(_found(folder)) == ["d1", "d2", "d3", "d4", "d5", "new"]


def test_changes_that_are_done_again_come_to_the_same(living, folder):
    """A process may be killed when the folder has a change, and before its file is removed."""
    living.put([{"id": "new", "text": "fox"}])
    kept = {path: path.read_bytes() for path in living.kept.iterdir()}
    for _ in range(2):
        for path, content in kept.items():
            path.write_bytes(content)
        again = _living(folder)
        with again.running():
            assert [_ended(task) for task in again._tasks.values()] == ["done"]
        assert _found(folder) == ["new", *(f"d{number}" for number in range(6))]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([{"text": "fox"}], '"id" has to be a text'),
        ([{"id": "", "text": "fox"}], '"id" has to be a text'),
        ([{"id": 5, "text": "fox"}], '"id" has to be a text that is not empty, not 5'),
        ([{"id": "x" * 1001, "text": "fox"}], "1,001 characters"),
        ([{"id": "a", "text": "fox"}, {"id": "a", "text": "dog"}], "document 2: the id 'a' comes twice"),
        ([{"id": "a"}], '"text" has to be a text, not missing'),
        ([{"id": "a", "text": ["fox"]}], '"text" has to be a text'),
        ([{"id": "a", "text": "\ud800"}], "half a surrogate pair"),
        ([{"id": "\udfff", "text": "fox"}], "half a surrogate pair"),
        ([{"id": "a", "text": "fox", "\ud800": 1}], "half a surrogate pair"),
        ([{"id": "a", "text": "fox", "year": "late"}], "'year' holds numbers in other documents"),
        ([{"id": "a", "text": "fox", "year": True}], "'year' holds numbers in other documents"),
        ([{"id": "a", "text": "fox", "title": 7}], "'title' holds texts"),
        ([{"id": "a", "text": "fox", "of": [1]}], "texts, numbers, truth values and null are kept"),
        ([{"id": "a", "text": "fox", "of": float("nan")}], "texts, numbers, truth values and null are kept"),
        ([{"id": "a", "text": "fox", "of": 2**63}], "beyond 64 bits"),
        ([{"id": "a", "text": "x", "of": 1}, {"id": "b", "text": "x", "of": "one"}], "document 2: 'of' holds numbers"),
        (["fox"], "an object with id and text is expected"),
        ([], "there are no documents"),
    ],
)
def test_what_is_no_document_is_refused_with_all_that_came_with_it(living, documents, said):
    with pytest.raises(BadInput, match=said.replace("(", r"\(")):
        living.put([{"id": "good", "text": "fox"}, *documents] if documents and "document 2" not in said else documents)
    assert not list(living.kept.iterdir())


def test_a_change_that_cannot_be_indexed_is_given_up_alone_and_kept(living, folder):
    with living.running():
        for number in range(5):
            living.remove(f"d{number}")
        last, after = living.remove("d5"), None
        if _ended(last) == "failed":
            assert "without documents" in last.detail
        after = living.put([{"id": "new", "text": "fox"}])
        assert _ended(after) == "done"
    assert _found(folder)[0] == "new"


def test_a_full_disk_or_another_process_puts_changes_off_and_loses_none(living, folder, monkeypatch):
    monkeypatch.setattr(living_module, "_PAUSE", 0.05)
    with living.running():
        with alone(folder, "nirank index"):
            task = living.put([{"id": "new", "text": "fox"}])
            _until(lambda: task.detail)
            assert "another nirank index is writing" in task.detail
        assert _ended(task) == "done"
        with monkeypatch.context() as patch:
            patch.setattr(living_module.os, "replace", _no_room)
            with pytest.raises(NotSaved, match="No space left"):
                living.put([{"id": "lost", "text": "fox"}])
    assert _found(folder)[0] == "new"
    assert [path.name for path in living.kept.iterdir() if path.name != ".lock"] == []


def _no_room(*_):
    raise OSError(28, "No space left on device")


def _until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_servers_do_not_change_one_folder_and_a_damaged_change_is_told(living, folder):
    with living.running(), pytest.raises(BadInput, match="another server takes changes"), _living(folder).running():
        pass
    (living.kept / "5.json").write_text('{"changes": {}, "check": "x"}')
    with pytest.raises(DamagedFile, match=r"5\.json.*not as it was written"), _living(folder).running():
        pass


def test_what_is_no_change_stays_in_the_folder_of_changes(living):
    for name in ("notes.json", "5 (copy).json"):
        (living.kept / name).write_text("mine")
    with living.running():
        assert _ended(living.put([{"id": "new", "text": "fox"}])) == "done"
    assert (living.kept / "notes.json").read_text() == "mine"


def test_a_server_that_cannot_take_changes_ends_with_the_reason(living, folder):
    (living.kept / "5.json").write_text('{"changes": {}, "check": "x"}')
    with pytest.raises(DamagedFile, match=r"5\.json.*not as it was written"):
        running.serve(source(str(folder)), Options(port=0, living=True), tell=lambda address: None)


# Over HTTP


@pytest.fixture
def client(folder):
    made = source(str(folder))
    with TestClient(application(Holder(made.open()), Options(living=True), made), "http://localhost") as client:
        yield client


def _ids(client, **asked):
    answer = client.get("/search", params={"q": "fox", "k": 20, **asked}).json()
    return [hit["id"] for hit in answer["results"][0]["hits"]], answer["version"]


def test_documents_are_posted_and_found_filtered_and_deleted(client):
    _, before = _ids(client)
    posted = client.post(
        "/documents", json={"documents": [{"id": "a/b", "text": "fox", "year": 2050, "lang": "en"}], "wait": True}
    )
    assert posted.status_code == 200, posted.text
    found, version = _ids(client, where="year >= 2005 and lang == 'en'")
    assert (found, version) == (["a/b"], posted.json()["version"])
    assert version != before
    assert client.get("/documents/a%2Fb").json()["fields"]["year"] == 2050
    taken = client.delete("/documents/a%2Fb", params={"wait": True})
    assert taken.status_code == 200
    assert "a/b" not in _ids(client)[0]
    assert client.get(f"/tasks/{taken.json()['task']}").json()["status"] == "done"
    assert client.delete("/documents/a%2Fb").status_code == 404
    assert client.get("/tasks/none").status_code == 404


def test_another_value_of_a_field_makes_another_version(client):
    versions = [_ids(client)[1]]
    for year in (1999, None):
        client.post("/documents", json={"documents": [{"id": "d0", "text": "fox word0", "year": year}], "wait": True})
        versions.append(_ids(client)[1])
    client.post("/documents", json={"documents": [DOCUMENTS[0]], "wait": True})
    assert len(set(versions)) == 3
    assert _ids(client)[1] == versions[0]


def test_what_is_refused_over_http_says_why_and_changes_nothing(client):
    _, version = _ids(client)
    for body, status in (
        ({"documents": [{"id": "a"}]}, 422),
        ({"documents": []}, 422),
        ({"documents": "fox"}, 422),
        ({"other": 1}, 422),
    ):
        answer = client.post("/documents", json=body)
        assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert _ids(client)[1] == version


def test_a_server_of_what_does_not_change_refuses_documents(folder):
    made = source(str(folder))
    for options, given in ((Options(), made), (Options(living=True), None)):
        with TestClient(application(Holder(made.open()), options, given), "http://localhost") as client:
            answer = client.post("/documents", json={"documents": [{"id": "a", "text": "fox"}]})
            assert (answer.status_code, "without --read-only" in answer.json()["detail"]) == (403, True)
            assert client.delete("/documents/d0").status_code == 403


def test_searches_go_on_while_documents_change(client):
    failed, stop = [], threading.Event()

    def search():
        while not stop.is_set():
            answer = client.get("/search", params={"q": "fox"})
            if answer.status_code != 200 or not answer.json()["results"][0]["hits"]:
                failed.append(answer.text)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(5):
        document = {"id": f"new{number}", "text": "fox"}
        assert client.post("/documents", json={"documents": [document], "wait": True}).status_code == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(_ids(client)[0]) == 11
