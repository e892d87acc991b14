"""A hub on this machine, as much of the Hugging Face hub's API as its client asks for a push and a pull.

Repositories are dictionaries of commits; every request is noted with its `Authorization`, so that a test can see to
whom a token went. With `elsewhere`, the contents of files lie on another server, to which downloads are sent on, as
those of large files are on the real hub. With `later`, files appear between the answer about a commit and the list of
its files; with `said`, every commit is said to be that one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """The repositories of a server: for each name its commits, oldest first, as (hash, {path: bytes})."""

    def __init__(self):
        self.repositories, self.asked, self.elsewhere, self.address = {}, [], None, ""
        self.later, self.said = {}, None

    def commit(self, name, files):
        """Add a commit, which has these files and no others."""
        commits = self.repositories.setdefault(name, [])
        oid = hashlib.sha1(f"{name} {len(commits)} {sorted(files)}".encode()).hexdigest()
        commits.append((oid, dict(files)))
        return oid

    def at(self, name, revision):
        """The commit of a revision: a hash, or the newest for `main`."""
        commits = self.repositories.get(name, [])
        return next((each for each in reversed(commits) if revision in ("main", each[0])), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    @property
    def hub(self):
        return self.server.hub

    def _answer(self, status, body=b"", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.pop("size", str(len(content))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _noted(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Authorization")))
        length = int(self.headers.get("Content-Length") or 0)
        return path, self.rfile.read(length)

    def do_POST(self):
        path, body = self._noted()
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            self.hub.repositories.setdefault(name, []) or self.hub.commit(name, {".gitattributes": b""})
            return self._answer(200, {"url": f"{self.hub.address}/{name}", "id": name})
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        name, what = self._api(path)
        if what.startswith("preupload/"):
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": files})
        if what.startswith("commit/"):
            return self._commit(name, body)
        return self._answer(404, {"error": path})

    def _commit(self, name, body):
        files = dict(self.hub.at(name, "main")[1])
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        oid = self.hub.commit(name, files)
        self._answer(200, {"commitOid": oid, "commitUrl": f"{self.hub.address}/{name}/commit/{oid}"})

    @staticmethod
    def _api(path):
        owner, name, what = (path.removeprefix("/api/models/").split("/", 2) + ["", ""])[:3]
        return f"{owner}/{name}", what

    def do_GET(self):
        path, _ = self._noted()
        if "/resolve/" in path:
            return self._file(path)
        name, what = self._api(path)
        found = self.hub.at(name, what.split("/")[1] if "/" in what else "main")
        if found is None:
            missing = "RevisionNotFound" if name in self.hub.repositories else "RepoNotFound"
            return self._answer(404, {"error": "not found"}, X_Error_Code=missing)
        oid, files = found
        if what.startswith("tree/"):
            listed = files | self.hub.later
            return self._answer(200, [_entry(each, listed[each]) for each in sorted(listed)])
        siblings = [{"rfilename": each} for each in sorted(files)]
        told = {"id": name, "modelId": name, "sha": self.hub.said or oid, "siblings": siblings, "private": False}
        return self._answer(200, told)

    do_HEAD = do_GET  # noqa: N815 - the name that the server calls

    def _file(self, path):
        name, rest = path[1:].split("/resolve/")
        revision, file = rest.split("/", 1)
        oid, files = self.hub.at(name, revision) or ("", {})
        files = files | self.hub.later
        if file not in files:
            return self._answer(404, b"", X_Error_Code="EntryNotFound")
        known = {"ETag": f'"{_oid(files[file])}"', "X_Repo_Commit": oid}
        if self.hub.elsewhere:
            known |= {"X_Linked_Size": str(len(files[file])), "X_Linked_ETag": known["ETag"]}
            return self._answer(302, b"", Location=f"{self.hub.elsewhere}{path}", **known)
        return self._answer(200, files[file], **known)


def _oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}


@contextmanager
def serving(hub=None):
    """A hub that listens on this machine while the block runs."""
    hub = hub or Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = hub
    hub.address = hub.address or f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
