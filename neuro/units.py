"""Sizes, durations and addresses as people write them.

Owns the one grammar for each, both ways. Strict on purpose: `256mb`, `5 min` or `1e3` are refused
with the spelling that works, because a size misread by a factor of 1000 costs an evening.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from neuro.errors import UnitError

_SIZE_BYTES = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_BINARY_UNITS = ("TiB", "GiB", "MiB", "KiB")
_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,17})([A-Za-z]*)", re.ASCII)
_DURATION_PART = re.compile(r"(0|[1-9][0-9]{0,11})(ms|s|m|h|d)", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})", re.ASCII)
_PORT_MAX = 65_535


class Address(NamedTuple):
    """A host (numeric, or a name) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. Names count as loopback only as `localhost`."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_size_bytes(text: str) -> int:
    """Bytes in `256MiB`, `64KiB`, `10MB`, `4096B` or plain `4096`.

    Raises:
        UnitError: not a whole number with one of the known units.
    """
    match = _AMOUNT.fullmatch(text)
    factor = _SIZE_BYTES.get(match[2] or "B") if match else None
    if match is None or factor is None:
        raise UnitError(
            f"`{text}` is not a size: write a whole number and a unit, "
            "like `256MiB`, `64KiB` or `10MB`",
            text=text,
        )
    return int(match[1]) * factor


def format_size_bytes(size_bytes: int) -> str:
    """The shortest exact text of a size; `parse_size_bytes` reads it back unchanged."""
    if size_bytes:
        for unit in _BINARY_UNITS:
            count, rest = divmod(size_bytes, _SIZE_BYTES[unit])
            if rest == 0:
                return f"{count}{unit}"
    return f"{size_bytes}B"


def format_size_rounded(size_bytes: float) -> str:
    """A size for people, about three digits: `1.5 GiB`. Not meant to be parsed."""
    for unit in _BINARY_UNITS:
        if size_bytes >= _SIZE_BYTES[unit]:
            return f"{size_bytes / _SIZE_BYTES[unit]:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def parse_duration_ms(text: str) -> int:
    """Milliseconds in `10s`, `5m`, `250ms` or `1h30m`; a number needs its unit, save `0`.

    Raises:
        UnitError: unknown or repeated units, or units not in falling order.
    """
    total_ms = 0
    position = 0
    last_factor = None
    while position < len(text):
        match = _DURATION_PART.match(text, position)
        factor = _DURATION_MS[match[2]] if match else 0
        if match is None or (last_factor is not None and factor >= last_factor):
            break
        total_ms += int(match[1]) * factor
        last_factor = factor
        position = match.end()
    if text == "0":
        return 0
    if not text or position != len(text):
        raise UnitError(
            f"`{text}` is not a duration: write a whole number and a unit "
            "(`ms`, `s`, `m`, `h`, `d`), like `10s` or `1h30m`",
            text=text,
        )
    return total_ms


def format_duration_ms(duration_ms: int) -> str:
    """The shortest exact text of a duration; `parse_duration_ms` reads it back unchanged."""
    parts = []
    rest = duration_ms
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _DURATION_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_address(text: str) -> Address:
    """Host and port of `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.

    Port 0 lets the kernel choose.

    Raises:
        UnitError: no port, a port above 65535, or a host that is no address and no name.
    """
    host, colon, port_text = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    is_valid = bool(colon) and re.fullmatch(r"[0-9]{1,5}", port_text, re.ASCII) is not None
    if is_valid and int(port_text) <= _PORT_MAX and _is_host(host, bracketed):
        return Address(host, int(port_text))
    raise UnitError(
        f"`{text}` is not an address: write `HOST:PORT`, like `127.0.0.1:8080` or `[::1]:8080`",
        text=text,
    )


def format_address(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_host(host: str, bracketed: bool) -> bool:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        looks_numeric = host.replace(".", "").isdigit()
        return not bracketed and not looks_numeric and _HOST_NAME.fullmatch(host) is not None
    return (version == 6) == bracketed
