"""Models and indexes on the Hugging Face hub: pushed from a folder and pulled into one.

    push("my-checkpoint", "me/reranker")                    what `nirank train` or `nirank.fit` wrote
    folder = pull("me/reranker", revision="3f0c...")
    nirank.load(f"trained:{folder}")

A folder that `nirank index` made goes the same way, and is searched by `nirank search --in FOLDER`.

What comes from the hub passes the checks of what comes from a disk. Every file is compared with the seals that nirank
wrote (`nirank.seals`), and one that no seal names is refused; nothing is unpickled or run, and files that others would
run or unpickle are refused before they are downloaded. Seals tell damage, and not who wrote a file: for that a pull
names a commit, whose hash the hub keeps, and tells it where none was given.

A token goes to the endpoint that it was given for, and nowhere else: the one that the hub's client keeps goes to
huggingface.co alone, not to another `HF_ENDPOINT`, and none goes over a connection that anybody could read.
"""

from __future__ import annotations

import glob
import logging
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from nirank.errors import BadInput
from nirank.kit import beside, cache_folder, check_all
from nirank_adapters.needing import needing

with needing("hub"):
    import huggingface_hub as hub
    from huggingface_hub import constants

log = logging.getLogger("nirank")

#: What a repository has beside the files of a folder.
CARD, UNSEALED = "README.md", ("README.md", ".gitattributes")
_HOME = "https://huggingface.co"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HASH = re.compile("[0-9a-f]{40}")
#: Code, and what may run code when it is read.
_REFUSED = frozenset(
    {".bat", ".bin", ".ckpt", ".cmd", ".dill", ".dll", ".dylib", ".exe", ".jar", ".joblib", ".pickle", ".pkl", ".pt"}
    | {".pth", ".py", ".pyc", ".pyd", ".sh", ".so"}
)


def push(
    folder: str | Path,
    repository: str,
    *,
    private: bool = True,
    message: str = "Pushed by nirank",
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a checkpoint or an index to a repository, `OWNER/NAME`, made if need be; return the hash of the commit.

    What the repository had before is replaced. Raises `BadInput` for a folder without seals or with files that none
    names, `DamagedFile` where it is not as nirank wrote it.
    """
    folder = Path(folder).expanduser()
    _refuse(path.name for path in folder.rglob("*"))
    check_all(folder, "Make it again.", UNSEALED)
    api = _client(endpoint, token)
    with _told(api, repository):
        made = _commit(api, folder, repository, private, message)
    log.info("%s is pushed to %s at %s.", folder, repository, made.oid)
    return str(made.oid)


def pull(
    repository: str,
    folder: str | Path | None = None,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Path:
    """Download what `push` uploaded; return its folder: in the cache, one for each commit, unless `folder` is given.

    `revision` is the hash of a commit, a tag or a branch; of the last two, and without one, the commit is told, so that
    the same can be had again. Nothing stays of what is refused. Raises `BadInput` for a repository with code or pickled
    objects, without seals, or with files that no seal names; `DamagedFile` for files that are not as they were sealed.
    """
    api = _client(endpoint, token)
    with _told(api, repository):
        found = api.model_info(repository, revision=revision)
    names = [each.rfilename for each in found.siblings or []]
    _refuse(names)
    commit = _known(str(found.sha), revision, repository)
    if revision != commit:
        log.warning("%s is taken at %s; `revision=%r` gives the same again.", repository, commit, commit)
    place = Path(folder).expanduser() if folder else _cached(api.endpoint, repository, commit)
    if folder is None and place.exists():
        check_all(place, f"Remove {place}, and pull again.", UNSEALED)
        return place
    _refuse_filled(place)
    with beside(place) as unfinished:
        with _told(api, repository):
            hub.snapshot_download(
                repository,
                revision=commit,
                local_dir=unfinished,
                allow_patterns=[*map(glob.escape, names)],  # the client lists again, and what was looked at counts
                endpoint=api.endpoint,
                token=api.token,
            )
        shutil.rmtree(unfinished / ".cache", ignore_errors=True)  # the client's own notes
        check_all(unfinished, "Pull again, or ask whoever pushed it.", UNSEALED)
    return place


def _known(commit: str, asked: str | None, repository: str) -> str:
    """The hash of a commit. Raises `BadInput` where it is none, which would be a path, or not the one asked for."""
    if not _HASH.fullmatch(commit) or (asked and _HASH.fullmatch(asked) and asked != commit):
        raise BadInput(f"the hub answers with the commit {commit!r:.80} instead of {asked or 'a hash'}.", repository)
    return commit


def _commit(api: hub.HfApi, folder: Path, repository: str, private: bool, message: str) -> hub.CommitInfo:
    api.create_repo(repository, private=private, exist_ok=True)
    operations: list[Any] = [
        hub.CommitOperationAdd(path.relative_to(folder).as_posix(), path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    if not (folder / CARD).exists():
        operations.append(hub.CommitOperationAdd(CARD, _card(repository).encode()))
    known = {operation.path_in_repo for operation in operations}
    former = [name for name in api.list_repo_files(repository) if name not in known and name not in UNSEALED]
    operations += [hub.CommitOperationDelete(name) for name in former]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # an index has some
        return api.create_commit(repository, operations, commit_message=message)


@contextmanager
def _told(api: hub.HfApi, repository: str) -> Iterator[None]:
    """Raise `BadInput` with the cause where the hub cannot be reached, refuses, or has no such thing.

    What its client raises for that has no common base: errors of HTTP, of its names, of the system.
    """
    try:
        yield
    except Exception as error:
        cause = next(filter(None, str(error).splitlines()), type(error).__name__)
        raise BadInput(f"the hub at {api.endpoint} does not give it: {cause}", repository) from error


def _client(endpoint: str | None, token: str | None) -> hub.HfApi:
    """The client of one endpoint, with the token that was given for it; its own one goes to its own endpoint alone."""
    home = (endpoint or constants.ENDPOINT).rstrip("/")
    address = urlsplit(home)
    if token and address.scheme != "https" and address.hostname not in _LOOPBACK:
        raise BadInput(f"a token would be sent to {home} for anybody to read: name an endpoint that begins with https.")
    return hub.HfApi(endpoint=home, token=token or (None if home == _HOME else False), library_name="nirank")


def _refuse(names: Iterable[str]) -> None:
    """Raise `BadInput` for files of code, and for names that lead out of the folder."""
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    if outside := [path for path in paths if path.is_absolute() or ".." in path.parts]:
        raise BadInput(f"the name {str(outside[0])!r} leads out of the folder that it would be written to.")
    refused = sorted({str(path) for path in paths if path.suffix.lower() in _REFUSED})
    if refused:
        raise BadInput(
            f"{len(refused)} files hold code or may run code when they are read, such as {refused[0]!r}; nirank pushes "
            "and pulls weights as safetensors, and no code."
        )


def _refuse_filled(place: Path) -> None:
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BadInput("exists already; name another folder, or remove it.", place)


def _cached(endpoint: str, repository: str, commit: str) -> Path:
    """The folder of one commit in the cache; the names of host and repository have no signs that a path could not."""
    host = urlsplit(endpoint).netloc.replace(":", "-")
    return cache_folder() / "hub" / host / repository.replace("/", "--") / commit


def _card(repository: str) -> str:
    """The page that the hub shows of a repository."""
    return (
        "---\nlibrary_name: nirank\ntags:\n- nirank\n---\n\n"
        f"# {repository}\n\nMade by [nirank](https://pypi.org/project/nirank), and sealed by it: `pull` checks every "
        f'file.\n\n```python\nfrom nirank_adapters.hub import pull\n\nfolder = pull("{repository}")\n```\n'
    )
