"""Every option of a node: its type, default, range, and the reason for the default.

Owns the table from which the flags, the environment variables, the checks and the reference page
are made. Never reads anything. An option stands here only when something acts on it.
"""

# ruff: noqa: RUF009 (option() makes a dataclass field, and is called once for each on purpose)
from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuro.config.cluster import ClusterConfig
from neuro.config.kinds import (
    ADDRESS,
    BOOLEAN,
    DURATION,
    HOST_FIELD,
    INTEGER,
    ORIGIN_URL,
    PATH,
    SIZE,
    choice,
)
from neuro.config.option import Option, Values, option
from neuro.units import Address

_MIB = 1 << 20
_GIB = 1 << 30
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_THREADS_DEFAULT_MAX = 16  # more only pays with traffic that its operator knows about
_EDGE_PORT_OF_NODE_1 = 8080
_ADMIN_PORT_BASE = 9000
NODE_ID_MAX = 255  # keeps the port blocks of all nodes on one host apart


def _default_threads(_: Values) -> int:
    return max(1, min(_THREADS_DEFAULT_MAX, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """The process as a whole."""

    id: int = option(
        INTEGER,
        "Number of this node; chooses the default ports and data directory",
        reason="one node is a cluster of one",
        default=1,
        flag="--id",
        minimum=1,
        maximum=NODE_ID_MAX,
    )
    data_dir: Path = option(
        PATH,
        "Directory for what must survive a restart; created with mode 0700",
        reason="below the working directory, so that trying it out leaves no trace elsewhere",
        default_text=".neurocache/node-<id>",
        flag="--data",
        derive=lambda values: Path.cwd() / ".neurocache" / f"node-{values['node.id']}",
    )
    memory_bytes: int = option(
        SIZE,
        "Size of the slab: all cached objects with their heads; full means eviction, never growth",
        reason="fits a small machine and holds a small site",
        default=256 * _MIB,
        key="memory",
        flag="--memory",
        minimum=8 * _MIB,
        maximum=256 * _GIB,
    )
    insecure: bool = option(
        BOOLEAN,
        "Allow listening beyond loopback without TLS",
        reason="reachable by others is a decision, not a default",
        default=False,
        flag="--insecure",
    )
    shutdown_timeout_ms: int = option(
        DURATION,
        "How long a stopping node waits for requests in flight before it cuts them",
        reason="below the 30 s after which common supervisors kill",
        default=25_000,
        flag="--shutdown-timeout",
        minimum=0,
        maximum=_HOUR_MS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """The listener for clients, and what one client may cost."""

    bind: Address = option(
        ADDRESS,
        "Address that clients connect to; the host is numeric, port 0 lets the kernel choose",
        reason="only this machine, until somebody decides otherwise",
        default_text="127.0.0.1:(8079 + id)",
        flag="--edge",
        derive=lambda values: Address("127.0.0.1", _EDGE_PORT_OF_NODE_1 + values["node.id"] - 1),
    )
    threads: int = option(
        INTEGER,
        "Native threads that answer hits",
        reason="one CPU stays free for misses, which one Python thread handles",
        default_text="CPUs - 1, from 1 to 16",
        flag="--threads",
        minimum=1,
        maximum=64,
        derive=_default_threads,
    )
    connections_max: int = option(
        INTEGER,
        "Open client connections; further ones get 503 and are closed",
        reason="about 100 MB of kernel and engine memory at worst",
        default=16_384,
        minimum=1,
        maximum=1_000_000,
    )
    requests_in_flight_max: int = option(
        INTEGER,
        "Requests that wait for an origin; further ones get 503",
        reason="bounds memory when an origin stalls; hits are not counted",
        default=4_096,
        minimum=1,
        maximum=16_384,
    )
    request_line_bytes_max: int = option(
        SIZE,
        "Longest request line; beyond: 414",
        reason="RFC 9112 section 3 recommends at least 8000",
        default=8_192,
        minimum=256,
        maximum=65_536,
    )
    header_bytes_max: int = option(
        SIZE,
        "Longest request head; beyond: 431",
        reason="room for large cookies, and a bound on what a slow client holds",
        default=32_768,
        minimum=1_024,
        maximum=1_048_576,
    )
    field_count_max: int = option(
        INTEGER,
        "Most field lines of a request; beyond: 431",
        reason="browsers send about 20",
        default=100,
        minimum=8,
        maximum=1_000,
    )
    header_timeout_ms: int = option(
        DURATION,
        "Time from the first byte of a request to the end of its head; beyond: 408",
        reason="slow heads are an attack more often than a slow line",
        default=10_000,
        minimum=100,
        maximum=_HOUR_MS,
    )
    idle_timeout_ms: int = option(
        DURATION,
        "Time a connection may wait between requests",
        reason="what common servers and proxies use",
        default=60_000,
        minimum=100,
        maximum=_HOUR_MS,
    )
    body_timeout_ms: int = option(
        DURATION,
        "Time without any byte of a request body",
        reason="a stalled upload holds an origin connection",
        default=30_000,
        minimum=100,
        maximum=_HOUR_MS,
    )
    send_timeout_ms: int = option(
        DURATION,
        "Time in which a client takes no byte of its response",
        reason="a client that does not read pins its object in the slab",
        default=30_000,
        minimum=100,
        maximum=_HOUR_MS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginConfig:
    """The server behind the default site."""

    url: str | None = option(
        ORIGIN_URL,
        "Where misses go; without it only the object API below `/cache/` answers",
        flag="--origin",
    )
    host: str | None = option(
        HOST_FIELD,
        "Host field of requests to the origin; none: the host of `origin.url`",
    )
    tls_ca_file: Path | None = option(
        PATH,
        "Certificate authorities that vouch for an `https` origin; none: the system's",
    )
    connections_max: int = option(
        INTEGER,
        "Connections to the origin at once; further requests wait",
        reason="protects the origin from a cold cache",
        default=256,
        minimum=1,
        maximum=16_384,
    )
    idle_connections_max: int = option(
        INTEGER,
        "Connections kept open for the next miss",
        default=64,
        reason="saves a handshake without holding an origin's slots",
        minimum=0,
        maximum=16_384,
    )
    retries_max: int = option(
        INTEGER,
        "Further attempts of an idempotent request after a failure",
        reason="hides a restart of the origin; more would multiply its load",
        default=2,
        minimum=0,
        maximum=10,
    )
    connect_timeout_ms: int = option(
        DURATION,
        "Time to connect, TLS included",
        reason="two lost SYN packets are survived",
        default=5_000,
        minimum=10,
        maximum=_HOUR_MS,
    )
    first_byte_timeout_ms: int = option(
        DURATION,
        "Time from the end of the request to the head of the response; beyond: 504",
        reason="slow pages exist; a client rarely waits longer",
        default=60_000,
        minimum=10,
        maximum=_HOUR_MS,
    )
    between_bytes_timeout_ms: int = option(
        DURATION,
        "Time without any byte of a response body",
        reason="a stalled origin must not hold its waiters",
        default=30_000,
        minimum=10,
        maximum=_HOUR_MS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """What may be stored, and for how long."""

    object_bytes_max: int = option(
        SIZE,
        "Largest body that is stored; larger ones stream through, and a PUT gets 413",
        reason="one object may not push out everything else",
        default_text="a quarter of memory",
        flag="--object-bytes-max",
        minimum=1,
        maximum=256 * _GIB,
        derive=lambda values: int(values["node.memory"]) // 4,
    )
    default_ttl_ms: int = option(
        DURATION,
        "Freshness of responses that say nothing about it; whole seconds",
        reason="0 stores nothing that the origin did not ask to be stored",
        default=0,
        minimum=0,
        maximum=365 * 24 * _HOUR_MS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsConfig:
    """The object API below `/cache/`."""

    token_file: Path | None = option(
        PATH,
        "File with the token that everybody who writes must give (`Authorization: Bearer ...`); "
        "none: only clients on this machine may write. Behind a proxy, set one",
        reason="a secret in a flag or variable is seen by every process on the machine",
        flag="--token-file",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig:
    """The port for operators."""

    bind: Address = option(
        ADDRESS,
        "Address of status page, `/metrics`, `/healthz`, `/readyz` and `/api/v1/`",
        reason="it shows what the node does: only this machine may look",
        default_text="127.0.0.1:(9000 + id)",
        flag="--admin",
        derive=lambda values: Address("127.0.0.1", _ADMIN_PORT_BASE + values["node.id"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What the node writes to stderr."""

    level: str = option(
        choice("trace", "debug", "info", "warning", "error"),
        "Least severe messages that are written",
        reason="one line for each change of state, none for a request",
        default="info",
        flag="--log-level",
    )
    format: str = option(
        choice("auto", "console", "json"),
        "Lines for people or for machines; `auto`: `console` on a terminal, else `json`",
        reason="does the right thing under a supervisor",
        default="auto",
        flag="--log-format",
    )
    access: bool = option(
        BOOLEAN,
        "Write a line for each finished request (at the level `info`)",
        reason="costs more than the hit itself; `/metrics` counts them for free",
        default=False,
        flag="--access-log",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that was set, checked, in one unit each."""

    node: NodeConfig
    edge: EdgeConfig
    origin: OriginConfig
    cache: CacheConfig
    objects: ObjectsConfig
    admin: AdminConfig
    cluster: ClusterConfig
    log: LogConfig


SECTIONS: dict[str, type[Any]] = {
    "node": NodeConfig,
    "edge": EdgeConfig,
    "origin": OriginConfig,
    "cache": CacheConfig,
    "objects": ObjectsConfig,
    "admin": AdminConfig,
    "cluster": ClusterConfig,
    "log": LogConfig,
}


def _collect_options() -> tuple[Option, ...]:
    options = []
    for section, section_type in SECTIONS.items():
        for item in dataclasses.fields(section_type):
            facts = dict(item.metadata["option"])
            key = facts.pop("key") or item.name.removesuffix("_ms")
            flag = facts.pop("flag") or f"--{section}-{key}".replace("_", "-")
            options.append(
                Option(section=section, key=key, attribute=item.name, flag=flag, **facts)
            )
    return tuple(options)


OPTIONS = _collect_options()
"""Every option, in the order of the reference page. Derived defaults use earlier options only."""
