"""The options of the replicated store: peers as text, defaults from them, and their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from neuro.config import Config, load_config
from neuro.config.kinds import PEERS, Peer
from neuro.errors import ConfigError, UnitError
from neuro.units import Address

if TYPE_CHECKING:
    from pathlib import Path

THREE = "1=10.0.0.1:7001,2=10.0.0.2:7002/9002,3=db.example:7003"


def load(directory: Path, **flags: str) -> Config:
    given = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    return load_config(given, {}, directory=directory).config


def faults_of(directory: Path, **flags: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(directory, **flags)
    return sorted(fault.split(": ")[1] for fault in caught.value.faults)


def test_peers_are_read_and_written_back() -> None:
    peers = PEERS.parse(THREE)
    assert peers == (
        Peer(1, Address("10.0.0.1", 7001), Address("10.0.0.1", 3001)),
        Peer(2, Address("10.0.0.2", 7002), Address("10.0.0.2", 9002)),
        Peer(3, Address("db.example", 7003), Address("db.example", 3003)),
    )
    assert PEERS.parse(PEERS.format(peers)) == peers
    assert PEERS.parse("2=[::1]:2,1=a:1") == PEERS.parse("1=a:1,2=[::1]:2")


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1=", "1=host", "0=a:1", "01=a:1", "x=a:1", "1=a:1,", "1=a:1,1=b:2", "1=a:0"),
        *("1=a:1/0", "1=a:1/x", "1=a:70000", "1=a:1/70000", "1=a:1;2=b:2"),
    ],
)
def test_what_is_no_list_of_peers_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        PEERS.parse(text)


def test_a_node_alone_is_a_group_of_one_on_loopback(tmp_path: Path) -> None:
    cluster = load(tmp_path, id="4").cluster
    assert cluster.enabled
    assert cluster.peers is None
    assert str(cluster.raft_bind) == "127.0.0.1:7004"
    assert str(cluster.client_bind) == "127.0.0.1:3004"
    assert cluster.transport == "tcp"


def test_a_member_listens_where_the_others_are_told(tmp_path: Path) -> None:
    cluster = load(tmp_path, id="2", peers=THREE, insecure="true").cluster
    assert str(cluster.raft_bind) == "10.0.0.2:7002"
    assert str(cluster.client_bind) == "10.0.0.2:9002"
    own = load(tmp_path, id="2", peers=THREE, raft_bind="127.0.0.1:1", client_bind="127.0.0.1:2")
    assert str(own.cluster.raft_bind) == "127.0.0.1:1"


def test_members_talk_in_clear_on_loopback_only(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, id="1", peers=THREE)
    assert faults == ["cluster.client_bind", "cluster.raft_bind"]
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch(mode=0o600)
    files = {f"tls_{name}": str(tmp_path / name) for name in ("ca", "cert", "key")}
    assert load(tmp_path, id="1", peers=THREE, **files).cluster.tls_key_file == tmp_path / "key"


def test_a_member_listens_on_a_numeric_address(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, id="3", peers=THREE)
    assert faults == ["cluster.client_bind", "cluster.raft_bind"]


def test_certificates_come_in_threes_and_keys_are_private(tmp_path: Path) -> None:
    for name, mode in (("ca", 0o644), ("cert", 0o644), ("key", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    files = {f"tls_{name}": str(tmp_path / name) for name in ("ca", "cert", "key")}
    assert faults_of(tmp_path, **files) == ["cluster.tls_key_file"]
    (tmp_path / "key").chmod(0o600)
    load(tmp_path, **files)
    missing = faults_of(tmp_path, tls_ca=files["tls_ca"])
    assert missing == ["cluster.tls_certificate_file", "cluster.tls_key_file"]


def test_quic_needs_certificates(tmp_path: Path) -> None:
    assert faults_of(tmp_path, raft_transport="quic") == ["cluster.transport"]


def test_founders_are_named_and_joining_needs_somebody(tmp_path: Path) -> None:
    assert faults_of(tmp_path, id="2", peers="1=127.0.0.1:1") == ["cluster.peers"]
    assert faults_of(tmp_path, join="true") == ["cluster.join"]
    assert load(tmp_path, id="2", peers="1=127.0.0.1:1", join="true").cluster.join


def test_nothing_of_it_matters_without_the_store(tmp_path: Path) -> None:
    assert not load(tmp_path, cluster="false", raft_transport="quic", join="true").cluster.enabled
