"""Seals: what is damaged, cut off, exchanged or missing is told, and what was seen before is not hashed again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil

import pytest

from nirank import seals
from nirank.errors import DamagedFile


@pytest.fixture
def folder(tmp_path):
    with seals.sealed(tmp_path / "folder") as unfinished:
        (unfinished / "within").mkdir(parents=True)
        (unfinished / "one.npy").write_bytes(b"one" * 100)
        (unfinished / "within" / "two.npy").write_bytes(b"two" * 100)
    return tmp_path / "folder"


def _damage(path, at=10):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_sound_folder_passes_and_lists_all_files(folder):
    assert seals.check(folder, "")
    assert seals.check(folder, "", everything=True)
    assert json.loads((folder / seals.SEAL).read_text())["files"].keys() == {"one.npy", "within/two.npy"}


@pytest.mark.parametrize("name", ["one.npy", "within/two.npy", seals.SEAL])
def test_one_turned_bit_is_told_with_the_file_and_what_to_do(folder, name):
    _damage(folder / name)
    with pytest.raises(DamagedFile, match=rf"{name}.* Make it again\."):
        seals.check(folder, "Make it again.")


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"on"), lambda path: path.unlink()])
def test_another_size_and_a_missing_file_are_told(folder, change):
    change(folder / "one.npy")
    with pytest.raises(DamagedFile, match=r"one\.npy: is (damaged: it has 2 bytes|missing)"):
        seals.check(folder, "")


def test_a_file_of_another_folder_is_told(folder, tmp_path):
    with seals.sealed(tmp_path / "other") as unfinished:
        unfinished.mkdir()
        (unfinished / "one.npy").write_bytes(b"eno" * 100)
    shutil.copy2(tmp_path / "other" / "one.npy", folder / "one.npy")
    with pytest.raises(DamagedFile, match=r"one\.npy"):
        seals.check(folder, "")


def test_contents_are_hashed_once_after_writing_and_after_copying(folder, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(seals, "_hash", lambda path, real=seals._hash: hashed.append(path.name) or real(path))
    seals.check(folder, "")
    assert hashed == []
    copied = shutil.copytree(folder, tmp_path / "copied")
    seals.check(copied, "")
    seals.check(copied, "")
    assert sorted(hashed) == ["one.npy", "two.npy"]
    seals.check(copied, "", everything=True)
    assert len(hashed) == 4


def test_a_change_under_the_same_size_and_time_is_seen(folder):
    before = (folder / "one.npy").stat()
    _damage(folder / "one.npy")
    os.utime(folder / "one.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DamagedFile):
        seals.check(folder, "")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": {"../x": [1, "a"]}}', "[" * 100_000])
def test_a_seal_that_is_none_is_told(folder, text):
    (folder / seals.SEAL).write_text(text)
    with pytest.raises(DamagedFile, match=r"seal\.json"):
        seals.check(folder, "")


def test_what_has_no_seal_is_not_vouched_for(tmp_path):
    (tmp_path / "file").write_text("x")
    assert not seals.check(tmp_path, "")
    assert not seals.check_file(tmp_path / "file", "")


def test_what_has_no_seal_is_told_once_in_a_process(tmp_path, caplog):
    for name in ("old.arrow", "older.arrow"):
        (tmp_path / name).write_text("x")
    for _ in range(3):
        seals.check_file(tmp_path / "old.arrow", "")
        seals.check(tmp_path, "")
    seals.check(tmp_path / "not there", "")
    assert [record.args[0] for record in caplog.records] == [str(tmp_path / "old.arrow"), str(tmp_path)]
    assert all("has no seal" in record.message for record in caplog.records)


class Killed(BaseException):
    """A process that ends."""


def _written(path, content):
    with seals.sealed(path) as unfinished:
        unfinished.write_bytes(content)


@pytest.mark.parametrize("moves", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("before", ["nothing", "sealed", "unsealed", "killed", "longer"])
def test_a_file_that_is_replaced_has_a_seal_that_fits_it_whenever_the_process_ends(
    before, moves, tmp_path, monkeypatch, caplog
):
    path = tmp_path / "corpus.arrow"
    known = {b"new"} | {"nothing": set(), "killed": {b"middle"}, "longer": {b"much longer"}}.get(before, {b"old"})
    if before == "unsealed":
        path.write_bytes(b"old")
    elif before != "nothing":
        _written(path, b"much longer" if before == "longer" else b"old")
    real = os.replace

    def ending(left):
        def move(source, target):
            if not left:
                raise Killed
            left.pop()
            real(source, target)

        return move

    if before == "killed":
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(os, "replace", ending([0, 0]))  # the seal for both, and the file
            _written(path, b"middle")
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(os, "replace", ending([0] * moves))
        _written(path, b"new")
    if path.exists():
        assert path.read_bytes() in known
        assert seals.check_file(path, "", everything=True) or (before, moves) == ("unsealed", 0)
    else:
        assert (before, moves <= 1) == ("nothing", True)
    _written(path, b"last")
    assert seals.check_file(path, "", everything=True)
    assert "next" not in json.loads((tmp_path / f"corpus.arrow.{seals.SEAL}").read_text())


def test_damage_is_told_while_a_seal_is_for_two_states_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / "corpus.arrow"
    _written(path, b"old")
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(seals, "_write_beside", _once(seals._write_beside))
        _written(path, b"new")
    assert path.read_bytes() == b"new"
    path.write_bytes(b"odd")
    with pytest.raises(DamagedFile):
        seals.check_file(path, "")
    _written(path, b"last")
    assert seals.check_file(path, "", everything=True)


def _once(call):
    calls = []

    def only(*arguments):
        if calls:
            raise Killed
        calls.append(call(*arguments))

    return only


def test_what_a_killed_process_left_of_a_seal_is_removed(tmp_path):
    (tmp_path / "file").write_text("x")
    left = tmp_path / f".file.{seals.SEAL}.abcd1234"
    left.mkdir()
    (left / ".at-work").write_text("")
    assert not seals.check_file(tmp_path / "file", "")
    assert not left.exists()


@pytest.mark.parametrize("name", ["file", f"file.{seals.SEAL}"])
def test_what_a_killed_process_left_that_had_just_written_is_removed_when_that_is_opened_first(name, tmp_path):
    _written(tmp_path / "file", b"x")
    os.utime(tmp_path / "file")  # nobody has noted that it is whole
    left = tmp_path / f".{name}.abcd1234"
    left.mkdir()
    (left / ".at-work").write_text("")
    assert seals.check_file(tmp_path / "file", "")
    assert not left.exists()


def test_contents_are_looked_at_once_in_one_state_and_again_after_a_fault(folder):
    looked = []

    def check():
        looked.append(1)
        if len(looked) == 1:
            raise DamagedFile("odd")

    with pytest.raises(DamagedFile):
        seals.once(folder, "bounds", ["one.npy"], check)
    for _ in range(2):
        seals.once(folder, "bounds", ["one.npy"], check)
    assert len(looked) == 2
    _damage(folder / "one.npy")
    seals.once(folder, "bounds", ["one.npy"], check)
    assert len(looked) == 3


def test_a_file_alone_has_its_seal_beside_it_and_a_new_one_replaces_both(tmp_path):
    path = tmp_path / "corpus.arrow"
    for content in (b"first", b"second"):
        with seals.sealed(path) as unfinished:
            unfinished.write_bytes(content)
        assert seals.check_file(path, "", everything=True)
    _damage(path, 1)
    with pytest.raises(DamagedFile, match=r"corpus\.arrow"):
        seals.check_file(path, "")


def test_a_folder_within_that_has_its_own_seal_is_left_to_it(folder):
    with seals.sealed(folder / "impacts") as unfinished:
        unfinished.mkdir()
        (unfinished / "each.npy").write_bytes(b"3")
    seals.seal(folder)
    assert "impacts/each.npy" not in json.loads((folder / seals.SEAL).read_text())["files"]
    assert seals.sealed_inside(folder) == [folder / "impacts", folder]


def test_a_cache_that_cannot_be_written_costs_a_hash_each_time(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "file"))
    assert seals.check(folder, "")
    _damage(folder / "one.npy")
    with pytest.raises(DamagedFile):
        seals.check(folder, "")
