"""The kinds of values that options have: how each is read from text, and written back.

Owns the grammar of one value. Never knows option names. A flag, an environment variable and a text
in the file all pass the same parser, so that a value means the same wherever it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from neuro import units
from neuro.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT_PORT_BASE = 3_000
"""Clients reach node N at port 3000 + N, unless told otherwise."""

_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of value is written. `wants` completes the sentence "expected ..."."""

    name: str
    wants: str
    metavar: str
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    toml_type: type | None = None
    is_text_in_toml: bool = True
    is_path: bool = False
    choices: tuple[str, ...] = ()

    def parse_toml(self, value: object) -> Any:
        """The value of a TOML item.

        Raises:
            UnitError: it is of another type, or its text does not parse.
        """
        if self.toml_type is not None and type(value) is self.toml_type:
            return value
        if isinstance(value, str) and self.is_text_in_toml:
            return self.parse(value)
        raise UnitError(f"expected {self.wants}, found {_toml_name(value)}", text=str(value))


def choice(*names: str) -> Kind:
    """One of a few words."""

    def parse(text: str) -> str:
        if text in names:
            return text
        raise UnitError(f"expected {wants}, found `{text}`", text=text)

    wants = "one of " + ", ".join(f"`{name}`" for name in names)
    return Kind("choice", wants, "|".join(names), parse, str, choices=names)


def _parse_integer(text: str) -> int:
    if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text, re.ASCII) is None:
        raise UnitError(f"expected a whole number, found `{text}`", text=text)
    return int(text)


def _parse_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise UnitError(f"expected `true` or `false`, found `{text}`", text=text)
    return text == "true"


def _parse_path(text: str) -> Path:
    if not text or "\0" in text:
        raise UnitError("expected a path, found an empty text", text=text)
    return Path(text)


def _parse_origin_url(text: str) -> str:
    wrong = UnitError(
        f"`{text}` is not an origin: write `http://HOST[:PORT]` or `https://HOST[:PORT]`, "
        "without path and user",
        text=text,
    )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    has_extras = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or has_extras:
        raise wrong
    if port is not None and not 0 < port <= _PORT_MAX:
        raise wrong
    if re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", parts.netloc, re.ASCII) is None:
        raise wrong
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _parse_host_field(text: str) -> str:
    if re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", text, re.ASCII) is None:
        raise UnitError(f"`{text}` is not a host: write `HOST` or `HOST:PORT`", text=text)
    return text


class Peer(NamedTuple):
    """A member of the group: its id, where members reach it, and where clients do."""

    node: int
    raft: units.Address
    client: units.Address


def _parse_peers(text: str) -> tuple[Peer, ...]:
    """Peers in order of their ids; a client port that is left out is 3000 + id."""
    peers: dict[int, Peer] = {}
    for item in text.split(","):
        match = re.fullmatch(r"([1-9][0-9]{0,2})=(.+:[0-9]{1,5})(?:/([0-9]{1,5}))?", item, re.ASCII)
        if match is None:
            raise UnitError(
                f"`{item}` is not a peer: write `ID=HOST:PORT` or `ID=HOST:PORT/CLIENT_PORT`, "
                "like `1=10.0.0.1:7001`",
                text=text,
            )
        node, raft = int(match[1]), units.parse_address(match[2])
        client = units.Address(raft.host, int(match[3] or CLIENT_PORT_BASE + node))
        if not 0 < raft.port <= _PORT_MAX or not 0 < client.port <= _PORT_MAX:
            raise UnitError(f"`{item}` has a port that nobody can reach", text=text)
        if node in peers:
            raise UnitError(f"node {node} is named twice", text=text)
        peers[node] = Peer(node, raft, client)
    return tuple(peers[node] for node in sorted(peers))


def _format_peers(peers: tuple[Peer, ...]) -> str:
    return ",".join(f"{peer.node}={peer.raft}/{peer.client.port}" for peer in peers)


def _parse_name(text: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text, re.ASCII) is None:
        raise UnitError(f"`{text}` is not a name: use a-z, 0-9, `.`, `_` and `-`", text=text)
    return text


def _toml_name(value: object) -> str:
    names: dict[type, str] = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number with a fraction",
        str: "a text",
        list: "an array",
        dict: "a table",
    }
    return names.get(type(value), "a date or time")


INTEGER = Kind(
    "integer", "a whole number", "N", _parse_integer, str, toml_type=int, is_text_in_toml=False
)
BOOLEAN = Kind(
    "boolean",
    "`true` or `false`",
    "true|false",
    _parse_boolean,
    lambda value: "true" if value else "false",
    toml_type=bool,
    is_text_in_toml=False,
)
SIZE = Kind(
    "size",
    "a size like `256MiB`",
    "SIZE",
    units.parse_size_bytes,
    units.format_size_bytes,
    toml_type=int,
)
DURATION = Kind(
    "duration",
    "a duration like `10s`",
    "DURATION",
    units.parse_duration_ms,
    units.format_duration_ms,
)
ADDRESS = Kind("address", "`HOST:PORT`", "HOST:PORT", units.parse_address, str)
PATH = Kind("path", "a path", "PATH", _parse_path, str, is_path=True)
ORIGIN_URL = Kind("URL", "`http://HOST[:PORT]`", "URL", _parse_origin_url, str)
HOST_FIELD = Kind("host", "`HOST` or `HOST:PORT`", "HOST", _parse_host_field, str)
PEERS = Kind(
    "peers",
    "`ID=HOST:PORT[/CLIENT_PORT],...`",
    "ID=HOST:PORT,...",
    _parse_peers,
    _format_peers,
)
NAME = Kind("name", "a name of a-z, 0-9, `.`, `_` and `-`", "NAME", _parse_name, str)
