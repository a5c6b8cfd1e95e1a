"""The demo's origin: a small real web server, so that a node has something to stand in front of.

Owns: static files with validators, ranges and Cache-Control, and three pages made on request.
Never: caching, TLS, or anything a test of NeuroCache relies on beyond plain HTTP/1.1. It is the
standard library's server, so that a fresh clone needs no system package; nginx would serve as
well.

    python origin.py --port 9000 --directory build/out/demo

Prints `ready PORT` when it listens, and ends when its standard input closes, so that it cannot
outlive the process that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import html
import json
import mimetypes
import re
import sys
import threading
import time
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

SLOW_PAGE_DELAY_S = 2.0
RANGE = re.compile(r"bytes=(\d*)-(\d*)")

CACHE_CONTROL = {
    ".html": "public, max-age=60, stale-while-revalidate=30",
    ".css": "public, max-age=3600",
    ".js": "public, max-age=3600",
    ".svg": "public, max-age=86400",
    ".png": "public, max-age=86400, immutable",
}


class Origin(ThreadingHTTPServer):
    """One thread a connection; counts what a cache is there to reduce."""

    daemon_threads = True

    def __init__(self, port: int, directory: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.directory = directory.resolve()
        self.request_count = 0
        self.lock = threading.Lock()

    def count_request(self) -> int:
        """One more; gives the number of requests so far."""
        with self.lock:
            self.request_count += 1
            return self.request_count


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "DemoOrigin"
    sys_version = ""
    wbufsize = (
        -1
    )  # head and body leave together; a head alone would wait for the peer's delayed ACK
    server: Origin

    def do_GET(self) -> None:
        """Files, and the pages made on request."""
        number = self.server.count_request()
        path = unquote(urlsplit(self.path).path)
        if path == "/api/time":
            self._answer_json({"time": formatdate(usegmt=True), "request": number}, "no-store")
        elif path == "/api/count":
            self._answer_json({"requests_at_origin": number}, "no-store")
        elif path == "/api/slow":
            time.sleep(SLOW_PAGE_DELAY_S)
            body = {"made_in_seconds": SLOW_PAGE_DELAY_S, "request": number}
            self._answer_json(body, "public, max-age=10")
        elif path == "/api/greeting":
            language = (self.headers.get("Accept-Language") or "en").lower()
            text = "Guten Tag" if language.startswith("de") else "Good day"
            self._answer_json({"greeting": text}, "public, max-age=30", vary="Accept-Language")
        else:
            self._answer_file(path)

    do_HEAD = do_GET  # noqa: N815  (the name http.server looks for)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as inherited)
        """One line a request on stderr: what a cache lets through."""
        sys.stderr.write(f"origin: {format % args}\n")

    def _answer_json(self, value: object, cache_control: str, vary: str = "") -> None:
        body = json.dumps(value).encode() + b"\n"
        fields = {"Content-Type": "application/json", "Cache-Control": cache_control}
        if vary:
            fields["Vary"] = vary
        self._answer(HTTPStatus.OK, fields, body)

    def _answer_file(self, path: str) -> None:
        file = self._find_file(path)
        if file is None:
            text = f"<!doctype html><title>404</title><p>No page {html.escape(path)}\n"
            fields = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "max-age=5"}
            self._answer(HTTPStatus.NOT_FOUND, fields, text.encode())
            return
        body = file.read_bytes()
        modified_s = int(file.stat().st_mtime)
        entity_tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        fields = {
            "Content-Type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
            "Cache-Control": CACHE_CONTROL.get(file.suffix, "public, max-age=60"),
            "ETag": entity_tag,
            "Last-Modified": formatdate(modified_s, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if self._is_unchanged(entity_tag, modified_s):
            self._answer(HTTPStatus.NOT_MODIFIED, fields, b"")
            return
        self._answer_range(fields, body)

    def _find_file(self, path: str) -> Path | None:
        file = (self.server.directory / path.lstrip("/")).resolve()
        if file.is_dir():
            file /= "index.html"
        if not file.is_relative_to(self.server.directory) or not file.is_file():
            return None
        return file

    def _is_unchanged(self, entity_tag: str, modified_s: int) -> bool:
        if_none_match = self.headers.get("If-None-Match")
        if if_none_match is not None:
            tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
            return entity_tag in tags or "*" in tags
        since = self.headers.get("If-Modified-Since")
        if since is None:
            return False
        try:
            return parsedate_to_datetime(since).timestamp() >= modified_s
        except ValueError:
            return False

    def _answer_range(self, fields: dict[str, str], body: bytes) -> None:
        match = RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or match[1] == match[2] == "" or "If-Range" in self.headers:
            self._answer(HTTPStatus.OK, fields, body)
            return
        first = int(match[1]) if match[1] else max(0, len(body) - int(match[2]))
        last = min(int(match[2]), len(body) - 1) if match[1] and match[2] else len(body) - 1
        if first > last:
            fields["Content-Range"] = f"bytes */{len(body)}"
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, fields, b"")
            return
        fields["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        self._answer(HTTPStatus.PARTIAL_CONTENT, fields, body[first : last + 1])

    def _answer(self, status: HTTPStatus, fields: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> None:
    """Serves until standard input closes."""
    parser = argparse.ArgumentParser(description="The demo's origin server")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    try:
        server = Origin(options.port, options.directory)
    except OSError as error:
        raise SystemExit(f"origin: port {options.port}: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_address[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    server.shutdown()


if __name__ == "__main__":
    main()
