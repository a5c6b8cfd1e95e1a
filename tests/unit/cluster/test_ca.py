"""The cluster's certificate authority: files, identities, and what is not believed."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from neuro.cluster import ca
from neuro.cluster.ca import CertificateError, Identity, IdentityKind


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    ca.init_authority(tmp_path / "ca")
    return tmp_path / "ca"


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def der_of(path: Path) -> bytes:
    return load(path).public_bytes(serialization.Encoding.DER)


def test_keys_are_readable_by_their_owner_only(authority: Path) -> None:
    files = ca.issue_node(authority, 1)
    for key in (authority / "ca.key", files.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_node_certificate_names_the_node_and_its_hosts(authority: Path) -> None:
    files = ca.issue_node(authority, 7, hosts=["db.example", "10.1.2.3", "localhost"])
    assert ca.read_identity(der_of(files.certificate)) == Identity(IdentityKind.NODE, "7")
    names = load(files.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost", "db.example"]
    addresses = [str(item) for item in names.value.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1", "10.1.2.3"]


def test_a_client_certificate_is_no_node(authority: Path) -> None:
    files = ca.issue_client(authority, "backup")
    identity = ca.read_identity(der_of(files.certificate))
    assert identity == Identity(IdentityKind.CLIENT, "backup")
    assert identity.node == 0
    usage = load(files.certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert ExtendedKeyUsageOID.SERVER_AUTH not in list(usage.value)


def test_nothing_is_ever_overwritten(authority: Path) -> None:
    files = ca.issue_node(authority, 1)
    before = files.key.read_bytes(), (authority / "ca.key").read_bytes()
    with pytest.raises(CertificateError, match="exists already"):
        ca.issue_node(authority, 1)
    with pytest.raises(CertificateError, match="exists already"):
        ca.init_authority(authority)
    assert (files.key.read_bytes(), (authority / "ca.key").read_bytes()) == before


def test_validity_is_what_was_asked_for(authority: Path) -> None:
    certificate = load(ca.issue_node(authority, 1, days=30).certificate)
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert certificate.not_valid_before_utc < datetime.now(UTC)
    with pytest.raises(CertificateError):
        ca.issue_node(authority, 2, days=0)


def test_a_key_of_another_authority_is_noticed(authority: Path, tmp_path: Path) -> None:
    ca.init_authority(tmp_path / "other")
    (authority / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(CertificateError, match="does not belong"):
        ca.issue_node(authority, 1)


def test_a_missing_or_damaged_authority_is_told(authority: Path, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="can not be read"):
        ca.issue_node(tmp_path / "nowhere", 1)
    (authority / "ca.pem").write_text("rubbish")
    with pytest.raises(CertificateError, match="can not be read"):
        ca.issue_node(authority, 1)


@pytest.mark.parametrize("node", [0, -1, 2**63])
def test_impossible_node_ids_get_no_certificate(authority: Path, node: int) -> None:
    with pytest.raises(CertificateError):
        ca.issue_node(authority, node)


@pytest.mark.parametrize("name", ["", "A", "a b", "ä", "-a", "a" * 64, "../x", "node:1"])
def test_impossible_client_names_get_no_certificate(authority: Path, name: str) -> None:
    with pytest.raises(CertificateError):
        ca.issue_client(authority, name)


def forge(urns: list[str]) -> bytes:
    """A self-signed certificate with these names; `read_identity` does not check chains."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = ca._builder(name, name, key.public_key(), 1)
    if urns:
        names = [x509.UniformResourceIdentifier(urn) for urn in urns]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "urns",
    [
        [],
        ["https://example.org/"],
        ["urn:neurocache:node:"],
        ["urn:neurocache:node:0"],
        ["urn:neurocache:node:01"],
        ["urn:neurocache:node:-1"],
        ["urn:neurocache:node:9223372036854775808"],
        ["urn:neurocache:node:1", "urn:neurocache:node:2"],
        ["urn:neurocache:admin:1"],
        ["urn:neurocache:client:A"],
    ],
)
def test_a_certificate_that_names_nobody_or_two_is_refused(urns: list[str]) -> None:
    with pytest.raises(CertificateError):
        ca.read_identity(forge(urns))


def test_rubbish_is_no_certificate() -> None:
    with pytest.raises(CertificateError):
        ca.read_identity(b"rubbish")


def test_contexts_ask_for_tls_1_3_and_for_a_certificate(authority: Path) -> None:
    files = ca.issue_node(authority, 1)
    for context in (ca.make_server_context(files), ca.make_client_context(files)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_key_that_does_not_fit_is_told(authority: Path) -> None:
    one, two = ca.issue_node(authority, 1), ca.issue_node(authority, 2)
    with pytest.raises(CertificateError, match="can not be used"):
        ca.make_server_context(ca.TlsFiles(one.ca, one.certificate, two.key))
    with pytest.raises(CertificateError, match="can not be used"):
        ca.make_client_context(ca.TlsFiles(one.ca / "x", one.certificate, one.key))
