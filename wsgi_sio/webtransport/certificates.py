"""Certificates for QUIC: those of files, and one made on the spot for development and tests.

A browser takes one that nobody has signed if the page names its hash (``serverCertificateHashes`` of the W3C's
WebTransport): then it has to have a P-256 key, and to be valid for two weeks at most.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# How long a browser takes one by its hash, and how much of that the clocks may differ.
_LIFE = timedelta(days=13)
_SKEW = timedelta(hours=1)

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key.

    :ivar chain: the certificate itself first, then those that vouch for it.
    :ivar key: the private one.
    """

    chain: tuple[x509.Certificate, ...]
    key: Any

    @property
    def sha256(self) -> bytes:
        """What a page names it by."""
        return fingerprint(self.chain[0])

    @property
    def expires(self) -> datetime:
        """Until when it is valid."""
        return self.chain[0].not_valid_after_utc

    @property
    def pem(self) -> bytes:
        """The chain as a file."""
        return b"".join([certificate.public_bytes(serialization.Encoding.PEM) for certificate in self.chain])

    def secret(self, purpose: bytes) -> bytes:
        """32 bytes that whoever serves with the same key has as well, and nobody else."""
        key = self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return hashlib.sha256(purpose + b"\0" + key).digest()


def fingerprint(certificate: x509.Certificate) -> bytes:
    """The SHA-256 of a certificate."""
    return certificate.fingerprint(hashes.SHA256())


def make_certificate(names: Iterable[str] = ("localhost", "127.0.0.1", "::1")) -> Certificate:
    """One for thirteen days that nobody has signed.

    :param names: host names and addresses of the server.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wsgi_sio")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate((certificate,), key)


def read_certificate(
    certfile: str | os.PathLike[str], keyfile: str | os.PathLike[str] | None = None, password: str | None = None
) -> Certificate:
    """Read PEM files, as :meth:`ssl.SSLContext.load_cert_chain` does.

    :param keyfile: None: the key is in ``certfile`` too.
    :raises OSError: one cannot be read.
    :raises ValueError: one has not what it should have, or the key is not the certificate's.
    :raises TypeError: the key needs a password, or needs none.
    """
    with open(certfile, "rb") as file:
        text = file.read()
    chain = tuple(x509.load_pem_x509_certificate(block) for block in _BLOCK.findall(text))
    if not chain:
        raise ValueError(f"there is no certificate in {os.fspath(certfile)!r}")
    if keyfile is not None:
        with open(keyfile, "rb") as file:
            text = file.read()
    key = serialization.load_pem_private_key(text, password.encode() if password is not None else None)
    if _public_bytes(key.public_key()) != _public_bytes(chain[0].public_key()):
        raise ValueError(f"the key is not that of the certificate in {os.fspath(certfile)!r}")
    return Certificate(chain, key)


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
