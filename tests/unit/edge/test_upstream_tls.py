"""Origins over TLS: the certificate is checked, always."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from neuro.edge.settings import OriginSettings, UpstreamTimeouts
from neuro.edge.upstream import UpstreamRequest
from neuro.edge.upstream_pool import OriginPool
from neuro.errors import UpstreamConnectError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.needs("openssl")
FAST = UpstreamTimeouts(connect_ms=2_000, first_byte_ms=2_000, between_bytes_ms=2_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=origin", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    return certificate, key


@pytest_asyncio.fixture
async def port(certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def fetch(pool: OriginPool) -> bytes:
    response = await pool.fetch(UpstreamRequest(b"GET", b"/", [(b"Host", b"o")]))
    body = b""
    while data := await response.read():
        body += data
    return body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_known_authority_is_accepted_and_the_connection_reused(
    certificate: tuple[Path, Path], port: int, host: str
) -> None:
    settings = OriginSettings(
        f"https://{host}:{port}", tls_ca_file=str(certificate[0]), timeouts=FAST
    )
    pool = OriginPool(settings)
    for _ in range(2):
        assert await fetch(pool) == b"secret"
    assert (pool.stats.connects, pool.stats.reused) == (1, 1)
    pool.close()


async def test_unknown_authority_is_refused_and_nothing_is_sent(port: int) -> None:
    pool = OriginPool(OriginSettings(f"https://127.0.0.1:{port}", timeouts=FAST, retries_max=0))
    with pytest.raises(UpstreamConnectError, match="certificate"):
        await fetch(pool)
    assert pool.stats.bytes_sent == 0
    assert pool.stats.connections_open == 0
    pool.close()


async def test_name_that_the_certificate_does_not_hold_is_refused(
    certificate: tuple[Path, Path], port: int
) -> None:
    settings = OriginSettings(
        f"https://127.0.0.2:{port}", tls_ca_file=str(certificate[0]), timeouts=FAST, retries_max=0
    )
    pool = OriginPool(settings)
    with pytest.raises(UpstreamConnectError):
        await fetch(pool)
    pool.close()
