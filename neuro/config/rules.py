"""Rules that concern more than one option, or the machine.

Owns those checks, as sentences with the way out. Never changes a value.
"""

from __future__ import annotations

import ipaddress
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from neuro.config.option import Values
    from neuro.units import Address

_MS_PER_S = 1_000
_TLS_FILES = ("cluster.tls_ca_file", "cluster.tls_certificate_file", "cluster.tls_key_file")


def find_conflicts(values: Values, sources: Mapping[str, str]) -> Iterator[str]:
    """One line for each rule that the values break."""

    def fault(path: str, reason: str) -> str:
        return f"{sources[path]}: {path}: {reason}"

    edge: Address = values["edge.bind"]
    admin: Address = values["admin.bind"]
    for path, address in (("edge.bind", edge), ("admin.bind", admin)):
        if not _is_numeric(address.host):
            yield fault(path, f"`{address.host}` is a name: write a numeric address")
        elif not address.is_loopback and not values["node.insecure"]:
            yield fault(
                path,
                f"`{address}` can be reached by other machines, without TLS; "
                "listen on `127.0.0.1`, or say that you mean it with `--insecure`",
            )
    if edge.port and edge == admin:
        yield fault("admin.bind", f"`{admin}` is the address of the edge as well")
    if values["cache.object_bytes_max"] > values["node.memory"]:
        yield fault("cache.object_bytes_max", "larger than `node.memory`")
    if values["cache.default_ttl"] % _MS_PER_S:
        yield fault("cache.default_ttl", "must be whole seconds")
    origin = values["origin.url"]
    if origin is not None and origin.rpartition("://")[2] == str(edge):
        yield fault("origin.url", "is the edge of this node: requests would go round in a circle")
    if values["cluster.enabled"]:
        yield from _find_cluster_faults(values, fault_of=fault)
    yield from _find_file_faults(values, fault_of=fault)


def _find_cluster_faults(values: Values, *, fault_of: Any) -> Iterator[str]:
    tls = [path for path in _TLS_FILES if values[path] is not None]
    for path in _TLS_FILES:
        if tls and path not in tls:
            yield fault_of(path, f"is missing: `{tls[0]}` is of no use without it")
    for path in ("cluster.raft_bind", "cluster.client_bind"):
        address: Address = values[path]
        if not _is_numeric(address.host):
            yield fault_of(
                path,
                f"`{address.host}` is a name: write a numeric address to listen on",
            )
        elif not address.is_loopback and not tls and not values["node.insecure"]:
            yield fault_of(
                path,
                f"`{address}` can be reached by other machines, without TLS; make certificates "
                "with `neurocache ctl ca`, or say that you mean it with `--insecure`",
            )
    if values["cluster.transport"] == "quic" and not tls:
        yield fault_of("cluster.transport", "`quic` needs `cluster.tls_ca_file` and its fellows")
    peers = values["cluster.peers"]
    if values["cluster.join"] and not peers:
        yield fault_of("cluster.join", "needs `cluster.peers`: whom to join")
    nodes = [peer.node for peer in peers or ()]
    if nodes and not values["cluster.join"] and values["node.id"] not in nodes:
        yield fault_of("cluster.peers", f"does not name this node, {values['node.id']}")


def _find_file_faults(values: Values, *, fault_of: Any) -> Iterator[str]:
    for path in ("objects.token_file", "origin.tls_ca_file", *_TLS_FILES):
        file: Path | None = values[path]
        if file is None:
            continue
        try:
            mode = file.stat().st_mode
        except OSError as error:
            yield fault_of(path, f"`{file}` cannot be read: {error.strerror}")
            continue
        if not stat.S_ISREG(mode):
            yield fault_of(path, f"`{file}` is not a file")
        elif path in ("objects.token_file", "cluster.tls_key_file") and mode & stat.S_IROTH:
            yield fault_of(path, f"`{file}` can be read by everybody; run `chmod 600 {file}`")


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
