# SPDX-License-Identifier: Apache-2.0
"""An authority of one's own, for servers and clients of this machine: its certificates hold a day, and nobody else trusts it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nerv.dev.ports import HOST

AGE = timedelta(days=1)
SKEW = timedelta(minutes=5)  # a clock that is behind takes them, too


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its key, and both in one file, as Kafka wants them (PEM, PKCS 8)."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs what servers and clients show of themselves. All files are in `folder`; `ca` is its own certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("nerv dev authority")
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = (
            _unsigned(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Issued:
        """A certificate for a server on this machine, or a client, of this name (`CN=<name>`)."""
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))])
        made = (
            _unsigned(_named(name), self._name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(hosts, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate = made.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        found = Issued(*(self._folder / f"{name}{end}.pem" for end in ("", "-key", "-both")))
        found.certificate.write_bytes(certificate)
        for file, content in ((found.key, secret), (found.both, secret + certificate)):
            file.touch(mode=0o600)
            file.write_bytes(content)
        return found


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + AGE)
    )
