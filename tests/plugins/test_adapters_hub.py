"""The hub: what is pushed comes back and passes every check, and tokens go to the endpoint they are for."""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys

import pytest

import nirank
from nirank import Candidates, Collection, Documents, Queries, seals
from nirank.checkpoints import checkpoint
from nirank.errors import BadInput, DamagedFile
from nirank.experiments import workspace
from tests.hub_server import serving

hub = pytest.importorskip("huggingface_hub")

from nirank_adapters import hub as adapter  # noqa: E402 - it needs the package

NAME = "somebody/something"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    with serving() as (repositories, address):
        repositories.push = functools.partial(adapter.push, endpoint=address)
        repositories.pull = functools.partial(adapter.pull, endpoint=address)
        yield repositories


@pytest.fixture
def index(tmp_path):
    lines = [{"id": f"d{number}", "text": text} for number, text in enumerate(["a small cat", "a dog", "two cats"])]
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, lines)))
    folder = tmp_path / "index"
    workspace.create(folder, f"jsonl:{tmp_path / 'few.jsonl'}", "bm25")
    return folder


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_index_comes_back_as_it_was_pushed(server, index):
    commit = server.push(index, NAME)
    pulled = server.pull(NAME, revision=commit)
    assert _files(pulled) == _files(index) | {"README.md": server.at(NAME, commit)[1]["README.md"]} | {
        ".gitattributes": b""
    }
    found, scores = workspace.open_folder(pulled).search("cat", 3)
    wanted, same = workspace.open_folder(index).search("cat", 3)
    assert found.tolist() == wanted.tolist()
    assert scores.tolist() == same.tolist()
    assert pulled.name == commit
    assert server.pull(NAME, revision=commit) == pulled


def test_a_checkpoint_comes_back_and_scores_as_it_did(server, tmp_path):
    pytest.importorskip("torch")
    texts = Documents(["a", "b"], ["the lunch of a cat", "a dog"])
    judged = Candidates.of([[0], [1]], [[1], [1]], texts)
    train = Collection("few", texts, Queries.of(["cat lunch", "dog"]), judged)
    dssm = nirank.load("dssm", dims=[8, 4])
    nirank.fit(dssm, nirank.load("softmax_cross_entropy"), train, sampler=nirank.load("in_batch"), steps=2)
    checkpoint.save(dssm.component, tmp_path / "dssm")
    commit = server.push(tmp_path / "dssm", NAME)
    loaded = nirank.load(f"trained:{server.pull(NAME, revision=commit)}")
    queries, pairs = Queries.of(["cat lunch"]), Candidates.of([[0, 1]], corpus=texts)
    assert loaded.score(queries, pairs).tolist() == dssm.score(queries, pairs).tolist()
    assert loaded.component.fingerprint == dssm.component.fingerprint


def test_what_the_repository_had_before_is_replaced(server, index):
    server.commit(NAME, {"old.arrow": b"old", ".gitattributes": b"kept"})
    commit = server.push(index, NAME)
    files = server.at(NAME, commit)[1]
    assert "old.arrow" not in files
    assert files[".gitattributes"] == b"kept"


def test_a_revision_that_moves_is_told_with_the_commit_it_stood_for(server, index, caplog):
    commit = server.push(index, NAME)
    with caplog.at_level(logging.WARNING, "nirank"):
        assert server.pull(NAME).name == commit
    assert f"revision={commit!r}" in caplog.text
    caplog.clear()
    server.pull(NAME, revision=commit)
    assert "revision" not in caplog.text


def test_an_earlier_commit_is_had_by_its_hash(server, index, tmp_path):
    first = server.push(index, NAME)
    server.commit(NAME, {"README.md": b"all is gone"})
    assert _files(server.pull(NAME, tmp_path / "first", revision=first)).keys() >= _files(index).keys()


def _changed(server, change):
    """A later commit in which files were changed by someone."""
    files = dict(server.at(NAME, "main")[1])
    change(files)
    return server.commit(NAME, files)


def _damage(files):
    name = next(name for name in sorted(files) if name.endswith(".arrow"))
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])


def _strip_seals(files):
    for name in [name for name in files if name.endswith("seal.json")]:
        del files[name]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (_damage, DamagedFile, "is damaged"),
        (_strip_seals, BadInput, "no seals"),
        (lambda files: files.update({"notes.txt": b"new"}), BadInput, "in no seal"),
        (lambda files: files.update({"nirank_plugin.py": b"raise SystemExit"}), BadInput, "hold code"),
        (lambda files: files.update({"weights.PKL": b"cos\nsystem"}), BadInput, "hold code"),
        (lambda files: files.update({"../out.txt": b"x"}), BadInput, "leads out"),
    ],
)
def test_what_nothing_vouches_for_is_refused_and_nothing_stays(server, index, tmp_path, change, error, words):
    server.push(index, NAME)
    commit = _changed(server, change)
    with pytest.raises(error, match=words):
        server.pull(NAME, tmp_path / "pulled", revision=commit)
    assert [path for path in tmp_path.iterdir() if "pulled" in path.name or path.name == "out.txt"] == []


def test_what_appears_after_the_names_were_looked_at_is_not_downloaded(server, index, tmp_path):
    commit = server.push(index, NAME)
    server.later = {"nirank_plugin.py": b"raise SystemExit", "notes [x].txt": b"new"}
    pulled = server.pull(NAME, tmp_path / "pulled", revision=commit)
    assert not _files(pulled).keys() & server.later.keys()
    assert [path for _, path, _ in server.asked if "nirank_plugin.py" in path] == []


@pytest.mark.parametrize("said", ["../../elsewhere", "0" * 40, ""])
def test_another_commit_than_the_one_asked_for_is_refused(server, index, tmp_path, said):
    commit = server.push(index, NAME)
    server.said = said or "a branch"
    with pytest.raises(BadInput, match="instead of"):
        server.pull(NAME, tmp_path / "pulled", revision=commit)
    assert not (tmp_path / "pulled").exists()


def test_code_is_not_even_downloaded(server, index, tmp_path):
    server.push(index, NAME)
    commit = _changed(server, lambda files: files.update({"nirank_plugin.py": b"raise SystemExit"}))
    server.asked.clear()
    with pytest.raises(BadInput):
        server.pull(NAME, tmp_path / "pulled", revision=commit)
    assert [path for _, path, _ in server.asked if "/resolve/" in path] == []


def test_a_damaged_folder_is_not_pushed(server, index):
    file = next(index.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedFile):
        server.push(index, NAME)
    assert server.repositories == {}


def test_a_copy_in_the_cache_that_was_damaged_is_refused(server, index):
    commit = server.push(index, NAME)
    file = next(server.pull(NAME, revision=commit).glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedFile, match="pull again"):
        server.pull(NAME, revision=commit)


def test_a_folder_that_is_filled_is_not_written_over(server, index):
    commit = server.push(index, NAME)
    with pytest.raises(BadInput, match="exists already"):
        server.pull(NAME, index, revision=commit)


# Tokens


def test_a_token_goes_to_its_endpoint_and_not_to_where_the_files_lie(server, index, tmp_path):
    commit = server.push(index, NAME, token="hf_secret")
    assert {token for _, _, token in server.asked} == {"Bearer hf_secret"}
    server.asked.clear()
    with serving() as (elsewhere, address):
        elsewhere.repositories = server.repositories
        server.elsewhere = address.replace("127.0.0.1", "localhost")
        server.pull(NAME, tmp_path / "pulled", revision=commit, token="hf_secret")
        assert any("/resolve/" in path for _, path, _ in elsewhere.asked)
        assert {token for _, _, token in elsewhere.asked} == {None}
    assert {token for _, _, token in server.asked} == {"Bearer hf_secret"}


def test_the_token_that_the_client_keeps_goes_to_no_other_endpoint(server, index, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_kept")
    server.pull(NAME, revision=server.push(index, NAME))
    assert {token for _, _, token in server.asked} == {None}


def test_a_token_goes_over_no_open_connection(index):
    with pytest.raises(BadInput, match="https"):
        adapter.push(index, NAME, endpoint="http://hub.example.org", token="hf_secret")


def test_the_endpoint_of_the_environment_is_asked(server, index, tmp_path):
    commit = server.push(index, NAME)
    server.asked.clear()
    program = f"from nirank_adapters.hub import pull; print(pull({NAME!r}, {str(tmp_path / 'there')!r}))"
    environment = os.environ | {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_kept"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert commit in done.stderr
    assert _files(tmp_path / "there").keys() >= _files(index).keys()
    assert {token for _, _, token in server.asked} == {None}


# What is not there


def test_what_the_hub_has_not_is_told(server):
    with pytest.raises(BadInput, match=f"{NAME}: the hub at http://127.0.0.1.* does not give it: .*404"):
        server.pull(NAME)
    with pytest.raises(BadInput, match="does not give it"):
        server.pull("not a name")


def test_a_hub_that_is_not_there_is_told(server):
    with pytest.raises(BadInput, match="does not give it"):
        adapter.pull(NAME, endpoint="http://127.0.0.1:9")


# Seals


def test_every_file_needs_a_seal(index):
    assert seals.check_all(index, "Again.") == len(seals.sealed_inside(index))
    (index / "README.md").write_text("said beside")
    assert seals.check_all(index, "Again.", ("README.md",))
    with pytest.raises(BadInput, match="in no seal"):
        seals.check_all(index, "Again.")
