"""What the edge shell can be told: plain typed values, already checked and in one unit each.

Owns: the dataclasses between the configuration and the edge, and the defaults of what is not
configured. Never: reading files, environment or flags (neuro.config does). Why its own types: the
edge and its tests must not know how an operator writes a configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from neuro.checks import check

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """Deadlines of one exchange with an origin, in milliseconds."""

    connect_ms: int = 5_000
    first_byte_ms: int = 60_000
    between_bytes_ms: int = 30_000
    idle_ms: int = 55_000  # below the 60 s and 75 s after which common origins close

    def __post_init__(self) -> None:
        for name in ("connect_ms", "first_byte_ms", "between_bytes_ms", "idle_ms"):
            check(getattr(self, name) > 0, f"{name} must be positive")


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """One origin server: where it is and how it may be loaded."""

    url: str
    host_field: str | None = None  # the Host sent; None: the authority of `url`
    tls_ca_file: str | None = None  # None: the system's certificate authorities
    connections_max: int = 256
    idle_connections_max: int = 64
    retries_max: int = 2
    response_head_bytes_max: int = 49_152  # the engine sends 65,535 with what is added
    response_field_count_max: int = 200
    timeouts: UpstreamTimeouts = field(default_factory=UpstreamTimeouts)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        check(parts.scheme in ("http", "https"), f"origin `{self.url}` is not http or https")
        check(bool(parts.hostname), f"origin `{self.url}` names no host")
        check(parts.path in ("", "/") and not parts.query, f"origin `{self.url}` has a path")
        check(parts.username is None, f"origin `{self.url}` has a user")
        check(self.connections_max > 0, "connections_max must be positive")

    @property
    def is_tls(self) -> bool:
        """Whether the origin is reached over TLS."""
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        """Name or numeric address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port, the scheme's default when the URL names none."""
        return urlsplit(self.url).port or (443 if self.is_tls else 80)

    @property
    def authority(self) -> bytes:
        """The Host field of forwarded requests."""
        if self.host_field is not None:
            return self.host_field.encode("ascii")
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.is_tls else 80
        return (host if self.port == default else f"{host}:{self.port}").encode("ascii")


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """The rules of one site; `hosts` empty: every host that no other site names."""

    origin: OriginSettings
    hosts: tuple[str, ...] = ()
    default_ttl_s: int = 0  # docs/decisions/0011
    object_bytes_max: int = 100 * MIB  # larger responses are streamed, not stored
    ignore_request_cache_control: bool = True  # a client cannot make the origin work


@dataclass(frozen=True, slots=True)
class ObjectApiSettings:
    """The object API below /cache/."""

    token: str | None = None  # None: only loopback peers may write
    object_bytes_max: int = 100 * MIB


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """What the native engine is started with; see Engine in _core/engine.pyi for the meanings."""

    host: str = "127.0.0.1"
    port: int = 8080
    thread_count: int = 1
    connections_max: int = 16_384
    requests_in_flight_max: int = 4_096
    request_line_bytes_max: int = 8_192
    header_bytes_max: int = 32_768
    field_count_max: int = 100
    header_timeout_ms: int = 10_000
    idle_timeout_ms: int = 60_000
    body_timeout_ms: int = 30_000
    send_timeout_ms: int = 30_000
    access_ring_count: int = 65_536


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds on what misses may hold at once; hits are bounded by the engine alone."""

    fills_max: int = 512
    collapse_wait_ms: int = 60_000  # as long as an origin may take to answer
    background_max: int = 64


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Everything the edge needs to know."""

    listen: ListenSettings = field(default_factory=ListenSettings)
    sites: tuple[SiteSettings, ...] = ()
    object_api: ObjectApiSettings = field(default_factory=ObjectApiSettings)
    limits: EdgeLimits = field(default_factory=EdgeLimits)
    loop_token: str = "neurocache-1"  # noqa: S105  (in CDN-Loop and Via: unique to the node)
