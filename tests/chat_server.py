"""A server with OpenAI's interface for the time of a test, which fails when it is told to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class Server:
    """Answers requests in another thread: by `answer(text)`, or as `failing` says, a status and headers at a time."""

    def __init__(self, answer=lambda text: text[::-1]):
        self.write = answer
        self.requests, self.failing, self.reason, self.raw, self.slow = [], [], "stop", None, 0.0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def _handler(server):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.title(): value for name, value in self.headers.items()}
                server.requests.append((self.path, headers, body))
                threading.Event().wait(server.slow)
                status, headers = server.failing.pop(0) if server.failing else (200, {})
                self.answer(status, headers, body)

            def answer(self, status, headers, body):
                said = {"content": server.write("\n".join(said["content"] for said in body["messages"]))}
                whole = json.dumps({"choices": [{"message": said, "finish_reason": server.reason}]})
                text = (whole if server.raw is None else server.raw) if status == 200 else "what the server says"
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments):
                pass

        return Handler
