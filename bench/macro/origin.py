"""The origin behind every cache in the comparison.

Owns bodies of any size: `GET /<size>[?delay=<ms>...]` answers `size` bytes, cacheable for an hour,
after `delay` milliseconds; `GET /count` tells how many bodies were asked for, which proves that a
measured run was all hits. Never runs on the measured core.

usage: python origin.py PORT
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

_state = {"count": 0}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one keep-alive connection until the cache closes it."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = urlsplit(head.split(b" ", 2)[1].decode())
            if target.path == "/count":
                body = str(_state["count"]).encode()
                fields = "Cache-Control: no-store\r\n"
            else:
                _state["count"] += 1
                delay_ms = int(parse_qs(target.query).get("delay", ["0"])[0])
                if delay_ms:
                    await asyncio.sleep(delay_ms / 1000)
                body = b"x" * int(target.path.strip("/") or 0)
                fields = 'Cache-Control: max-age=3600\r\nETag: "bench"\r\n'
            head_text = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                f"{fields}Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head_text.encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Listen on loopback until killed."""
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
