"""A web server for downloads, with the faults that real ones have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``files`` and writes down what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.tag = '"1"'
        self.break_after = 0  # bytes after which the line breaks, once
        self.pages: set[str] = set()  # what is served as a web page
        self.hold_after = 0  # bytes after which the line waits for ``released``, once
        self.released = threading.Event()
        self.has_ranges = True
        self.heeds_if_range = True
        self.name = ""  # sent as the file's name, as Google Drive does
        self.requests: list[tuple[str, str | None]] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path[1:], wanted))
        content = self.server.files.get(self.path[1:].partition("?")[0])
        if content is None:
            self.send_error(404)
            return
        wanted = wanted if self.server.has_ranges else None
        first, _, last = wanted.removeprefix("bytes=").partition("-") if wanted else ("0", "", "")
        start, end = int(first), min(int(last) + 1, len(content)) if last else len(content)
        if (
            wanted
            and self.server.heeds_if_range
            and self.headers.get("If-Range") not in (None, self.server.tag)
        ):
            start, end, wanted = 0, len(content), None
        if wanted and start >= len(content):
            self.answer(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(content)}"})
            return
        name = "" if self.path[1:] in self.server.pages else self.server.name
        headers = {
            "Content-Type": "text/html" if self.path[1:] in self.server.pages else "application/octet-stream",
            "Content-Length": str(end - start),
            "ETag": self.server.tag,
            "Content-Disposition": name and f'attachment; filename="{name}"',
            "Content-Range": f"bytes {start}-{end - 1}/{len(content)}" if wanted else "",
        }
        self.answer(206 if wanted else 200, headers)
        if 0 < self.server.break_after < end - start:
            end, self.server.break_after = start + self.server.break_after, 0
        if self.server.hold_after:
            begin, start, self.server.hold_after = start, start + self.server.hold_after, 0
            self.wfile.write(content[begin:start])
            self.server.released.wait(60)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
            self.wfile.write(content[start:end])

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if value:
                self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
