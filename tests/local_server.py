"""A web server in this process, for tests of downloads."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Serves `files` and remembers what it was asked for.

    A name with "short" in it breaks off half-way, one with "labelled" is said to be a gzipped transfer, and one with
    "endless" is sent again and again, in chunks. `sent` counts bytes.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.moved: dict[str, str] = {}
        self.sent = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, but not for a connection that the other side has closed: several tests do so."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def put(self, name: str, content: bytes) -> str:
        self.files["/" + name] = content
        return self.url(name)

    def redirect(self, name: str, url: str) -> str:
        self.moved["/" + name] = url
        return self.url(name)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.seen.append(self.path)
        if self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.server.files.get(self.path.partition("?")[0])
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if "endless" in self.path:
            self.send_endless(content)
            return
        self.send_header("Content-Length", str(len(content)))
        if "labelled" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if "short" in self.path else content)

    def send_endless(self, content: bytes) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while self.server.sent < 10**9:
            self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            self.server.sent += len(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
