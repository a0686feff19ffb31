"""Certificates for tests that listen with TLS."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def self_signed(
    name: str, alternative: x509.GeneralName, days: float, *extensions: x509.ExtensionType
) -> tuple[bytes, bytes]:
    """Return a new key and its certificate, each as PEM: its own authority, valid since yesterday for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    making = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    )
    for one in extensions:
        making = making.add_extension(one, critical=True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, making.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def write_certificate(file: Path, days: float = 90) -> Path:
    """Write a certificate for 127.0.0.1, its own authority, valid for so many days yet; its key stands first."""
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    file.write_bytes(b"".join(self_signed("lms.test", loopback, days)))
    return file
