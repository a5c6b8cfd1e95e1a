"""Makes the demo site's directory: copies the pages, and paints two pictures of known size.

Owns: build/out/demo. Never: serving. The pictures are made, not committed: uncompressed PNG, so
that their sizes are near 64 KiB and 1 MiB on every machine.
"""

from __future__ import annotations

import math
import shutil
import struct
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = Path(__file__).resolve().parent / "site"
TARGET = ROOT / "build" / "out" / "demo"

PICTURES = {"dawn-64k.png": 147, "dusk-1m.png": 590}
"""Edge in pixels; three bytes a pixel."""


def make_site(target: Path = TARGET) -> Path:
    """Fills the directory with pages and pictures; keeps pictures that are there."""
    shutil.copytree(SITE, target, dirs_exist_ok=True)
    for name, edge in PICTURES.items():
        file = target / "images" / name
        if not file.exists():
            file.write_bytes(paint_png(edge))
    return target


def paint_png(edge: int) -> bytes:
    """A square RGB picture of soft waves, stored without compression."""
    rows = bytearray()
    for y in range(edge):
        rows.append(0)  # filter type: none
        v = y / edge
        for x in range(edge):
            u = x / edge
            wave = 0.5 + 0.5 * math.sin(9 * u + 5 * math.sin(4 * v))
            rows += bytes((int(40 + 180 * v * wave), int(60 + 90 * wave), int(120 + 110 * (1 - v))))
    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 0)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    print(make_site().relative_to(ROOT))
