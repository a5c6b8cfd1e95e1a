"""nginx as the origin: a real server's validators, keep-alive, ranges and chunked answers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import find_program

pytestmark = pytest.mark.needs("nginx")

CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  gzip on; gzip_types text/plain; gzip_min_length 1; gzip_vary on;
  gzip_proxied any;
  types {{ text/plain txt; application/octet-stream bin; }}
  server {{
    listen 127.0.0.1:{port}; root {folder}/www;
    location /fresh/ {{ add_header Cache-Control "max-age=600"; }}
    location /stale/ {{ add_header Cache-Control "max-age=0"; }}
    location /redirect {{ return 302 /fresh/a.txt; }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Nginx:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        for name in ("www/fresh", "www/stale"):
            (folder / name).mkdir(parents=True)
            (folder / name / "a.txt").write_bytes(b"text " * 2_000)
            (folder / name / "b.bin").write_bytes(bytes(range(256)) * 8_192)
        (folder / "conf").write_text(CONFIGURATION.format(folder=folder, port=self.port))

    def served(self) -> list[str]:
        lines = (self.folder / "access.log").read_text().splitlines()
        return [
            line.split('"')[1].split(" ")[1] + " " + line.split('"')[2].split()[0] for line in lines
        ]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    server = Nginx(tmp_path)
    program = find_program("nginx")
    assert program is not None
    log = tmp_path / "error.log"
    command = [str(program), "-e", str(log), "-c", str(tmp_path / "conf"), "-p", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield server
    finally:
        process.terminate()
        process.wait(10)


async def wait_for(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


async def test_nginx_origin_is_cached_validated_and_kept_alive(
    start_edge: Any, nginx: Nginx
) -> None:
    await wait_for(nginx.port)
    large = bytes(range(256)) * 8_192
    async with start_edge(nginx.url) as edge:
        for _ in range(3):
            assert (await edge.get(b"/fresh/b.bin")).body == large
            assert (await edge.get(b"/stale/b.bin")).body == large
        part = await edge.get(b"/fresh/b.bin", b"Range: bytes=-10")
        assert (part.status, part.body) == (206, large[-10:])
        moved = await edge.get(b"/redirect")
        assert (moved.status, moved.get(b"location")) == (302, nginx.url.encode() + b"/fresh/a.txt")
        assert (await edge.get(b"/none")).status == 404
        (stats,) = edge.service.upstream_stats().values()
        assert stats["connects"] == 1
        assert stats["errors"] == {}
    served = nginx.served()
    assert served.count("/fresh/b.bin 200") == 1
    assert served.count("/stale/b.bin 200") == 1
    assert served.count("/stale/b.bin 304") == 2


async def test_nginx_gzip_variants_are_kept_apart(start_edge: Any, nginx: Nginx) -> None:
    await wait_for(nginx.port)
    async with start_edge(nginx.url) as edge:
        for _ in range(2):
            plain = await edge.get(b"/fresh/a.txt")
            assert (plain.body, plain.get(b"content-encoding")) == (b"text " * 2_000, None)
            packed = await edge.get(b"/fresh/a.txt", b"Accept-Encoding: gzip, deflate")
            assert packed.get(b"content-encoding") == b"gzip"
            assert packed.body[:2] == b"\x1f\x8b"
    assert len(nginx.served()) == 2
