"""The cluster's own certificate authority: makes it, issues certificates, reads identities.

Owns the files `ca.pem` and `ca.key` and what stands in a certificate. Never talks to anybody, and a
running node never needs `ca.key`: keep it where certificates are issued.

Who a certificate speaks for is a URI in its subject alternative names, `urn:neurocache:node:3` or
`urn:neurocache:client:backup`. Host names stand there too, for clients that check them; members do
not, because an address may change while a node stays who it is.

Source: RFC 5280 sections 4.2.1.6 (alternative names), 4.2.1.9 (basic constraints), 4.2.1.12
(extended key usage).
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from neuro.errors import NeuroCacheError

AUTHORITY_DAYS: Final = 3_650
CERTIFICATE_DAYS: Final = 365
BACKDATE: Final = timedelta(minutes=5)
"""Clocks of members differ a little; a certificate made now must be valid everywhere now."""
URN_PREFIX: Final = "urn:neurocache:"
NODE_ID_MAX: Final = 2**63 - 1
_CLIENT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_NODE_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class CertificateError(NeuroCacheError):
    """A certificate or key can not be made, read or believed; `path` names the file, if any."""

    code = "certificate_error"
    path: str = ""


class IdentityKind(StrEnum):
    """Whom a certificate speaks for."""

    NODE = "node"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Identity:
    """A member (`name` is its id in decimal digits) or a client of the cluster."""

    kind: IdentityKind
    name: str

    @property
    def node(self) -> int:
        """The member's id; 0 for a client."""
        return int(self.name) if self.kind is IdentityKind.NODE else 0

    @property
    def urn(self) -> str:
        """The identity as it stands in a certificate."""
        return f"{URN_PREFIX}{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one end of a connection needs: the authority, its own certificate, and its key."""

    ca: Path
    certificate: Path
    key: Path


def init_authority(
    directory: Path, *, name: str = "neurocache", days: int = AUTHORITY_DAYS
) -> Path:
    """Makes `ca.pem` and `ca.key` in the directory; the path of the certificate.

    Raises:
        CertificateError: there is one already (it is never overwritten), or a file fails.
    """
    _check_days(days)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} certificate authority")
    certificate = (
        _builder(subject, subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    _write_new(directory / "ca.key", _key_pem(key), 0o600)
    path = directory / "ca.pem"
    _write_new(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return path


def issue_node(
    authority: Path,
    node: int,
    *,
    hosts: Sequence[str] = (),
    out: Path | None = None,
    days: int = CERTIFICATE_DAYS,
) -> TlsFiles:
    """Issues `node-N.pem` and `node-N.key` for a member, in `out` or beside the authority.

    Args:
        hosts: names and addresses clients reach the member at; loopback is always among them.
    Raises:
        CertificateError: the authority can not be read, or a file exists already.
    """
    if not 1 <= node <= NODE_ID_MAX:
        raise CertificateError(f"a node id is from 1 to {NODE_ID_MAX}, not {node}")
    names = (*dict.fromkeys(("localhost", "127.0.0.1", "::1", *hosts)),)
    return _issue(authority, Identity(IdentityKind.NODE, str(node)), names, out, days)


def issue_client(
    authority: Path, name: str, *, out: Path | None = None, days: int = CERTIFICATE_DAYS
) -> TlsFiles:
    """Issues `client-NAME.pem` and `client-NAME.key` for a client of the cluster.

    Raises:
        CertificateError: as for `issue_node`, or the name is not lower-case letters and digits.
    """
    if _CLIENT_NAME.fullmatch(name) is None:
        raise CertificateError(f"`{name}` is not a client name: use a-z, 0-9, `.`, `_` and `-`")
    return _issue(authority, Identity(IdentityKind.CLIENT, name), (), out, days)


def read_identity(der: bytes) -> Identity:
    """Whom a certificate speaks for; the caller has verified its chain.

    Raises:
        CertificateError: it names nobody of ours, or more than one.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        urns = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise CertificateError("the certificate names no member and no client") from error
    ours = [urn.removeprefix(URN_PREFIX) for urn in urns if urn.startswith(URN_PREFIX)]
    if len(ours) != 1:
        raise CertificateError("the certificate names no member and no client, or several")
    kind, _, name = ours[0].partition(":")
    if kind == IdentityKind.NODE and _NODE_NUMBER.fullmatch(name) and int(name) <= NODE_ID_MAX:
        return Identity(IdentityKind.NODE, name)
    if kind == IdentityKind.CLIENT and _CLIENT_NAME.fullmatch(name):
        return Identity(IdentityKind.CLIENT, name)
    raise CertificateError(f"`{URN_PREFIX}{ours[0]}` is neither a member nor a client")


def make_server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.3 for the accepting side; whoever connects must show a certificate of the authority.

    Raises:
        CertificateError: a file can not be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A resumed session would skip the client's certificate on some stacks: none is offered.
    context.num_tickets = 0
    return _load(context, files)


def make_client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.3 for the connecting side; names are not checked, the caller compares identities.

    Raises:
        CertificateError: a file can not be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _load(context, files)


def _load(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(files.ca)
        # Without a callback OpenSSL would ask for a passphrase on the terminal and hang there.
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (OSError, ValueError) as error:
        where = f"`{files.ca}`, `{files.certificate}` or `{files.key}`"
        raise CertificateError(
            f"{where} can not be used: {error}", path=str(files.certificate)
        ) from error
    return context


def _issue(
    authority: Path, identity: Identity, hosts: Iterable[str], out: Path | None, days: int
) -> TlsFiles:
    _check_days(days)
    issuer, issuer_key = _read_authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.kind is IdentityKind.NODE:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    stem = f"{identity.kind}-{identity.name}"
    names = [x509.UniformResourceIdentifier(identity.urn), *(_host(host) for host in hosts)]
    certificate = (
        _builder(_name(stem), issuer.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    directory = out or authority
    directory.mkdir(parents=True, exist_ok=True)
    files = TlsFiles(authority / "ca.pem", directory / f"{stem}.pem", directory / f"{stem}.key")
    _write_new(files.key, _key_pem(key), 0o600)
    _write_new(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return files


def _read_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_path, key_path = directory / "ca.pem", directory / "ca.key"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CertificateError(
            f"the authority in `{directory}` can not be read: {error}", path=str(directory)
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"`{key_path}` is no elliptic curve key", path=str(key_path))
    if key.public_key() != certificate.public_key():
        raise CertificateError(
            f"`{key_path}` does not belong to `{certificate_path}`", path=str(key_path)
        )
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    except ValueError as error:
        raise CertificateError(f"`{text}` can not name a certificate: {error}") from error


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateError(f"`{host}` is no host name and no address") from error


def _check_days(days: int) -> None:
    if not 1 <= days <= AUTHORITY_DAYS:
        raise CertificateError(f"a certificate is valid from 1 to {AUTHORITY_DAYS} days")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that must not exist; a key is never readable by others, not even briefly."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as error:
        raise CertificateError(f"`{path}` exists already", path=str(path)) from error
    except OSError as error:
        raise CertificateError(f"`{path}` can not be written: {error}", path=str(path)) from error
