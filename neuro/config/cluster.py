"""The options of the replicated store: who is in the group, and where each member is reached.

Owns that part of the schema; `schema` puts it beside the others. Never reads anything.
"""

# ruff: noqa: RUF009 (option() makes a dataclass field, and is called once for each on purpose)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuro.config.kinds import (
    ADDRESS,
    BOOLEAN,
    CLIENT_PORT_BASE,
    NAME,
    PATH,
    PEERS,
    Peer,
    choice,
)
from neuro.config.option import Values, option
from neuro.units import Address

_RAFT_PORT_BASE = 7000


def _own_address(values: Values, port_base: int, *, is_raft: bool) -> Address:
    """This node's address in `cluster.peers`, or the default one."""
    node = values["node.id"]
    for peer in values["cluster.peers"] or ():
        if peer.node == node:
            address: Address = peer.raft if is_raft else peer.client
            return address
    return Address("127.0.0.1", port_base + node)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """The replicated key-value store, and the group of nodes that keeps it."""

    enabled: bool = option(
        BOOLEAN,
        "Run a member of the replicated store",
        reason="a node alone is a group of one, and others can be added later",
        default=True,
        flag="--cluster",
    )
    name: str = option(
        NAME,
        "Name of the group; members of another group are refused",
        reason="keeps two groups apart that know each other's addresses",
        default="neurocache",
        flag="--cluster-name",
    )
    peers: tuple[Peer, ...] | None = option(
        PEERS,
        "All founders of the group with this node, the same on each; or members of a running "
        "group, with `--join`",
        default_text="none: this node alone",
        flag="--peers",
    )
    join: bool = option(
        BOOLEAN,
        "Enter a running group, to which this node is then added with `neurocache ctl members add`",
        reason="founding a second group by mistake would split the data",
        default=False,
        flag="--join",
    )
    raft_bind: Address = option(
        ADDRESS,
        "Address that other members connect to",
        reason="what the other members are told, or only this machine",
        default_text="this node's address in `cluster.peers`, else 127.0.0.1:(7000 + id)",
        flag="--raft-bind",
        derive=lambda values: _own_address(values, _RAFT_PORT_BASE, is_raft=True),
    )
    client_bind: Address = option(
        ADDRESS,
        "Address that clients of the store connect to",
        reason="what the other members are told, or only this machine",
        default_text="this node's client address in `cluster.peers`, else 127.0.0.1:(3000 + id)",
        flag="--client-bind",
        derive=lambda values: _own_address(values, CLIENT_PORT_BASE, is_raft=False),
    )
    transport: str = option(
        choice("tcp", "quic"),
        "What members' messages travel on; `quic` needs certificates",
        reason="costs less CPU time",
        default="tcp",
        flag="--raft-transport",
    )
    tls_ca_file: Path | None = option(
        PATH,
        "Certificate of the group's authority; see `neurocache ctl ca`",
        flag="--tls-ca",
    )
    tls_certificate_file: Path | None = option(
        PATH,
        "Certificate of this node",
        flag="--tls-cert",
    )
    tls_key_file: Path | None = option(
        PATH,
        "Key of this node's certificate; readable by its owner only",
        flag="--tls-key",
    )
