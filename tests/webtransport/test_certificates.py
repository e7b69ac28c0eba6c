"""Certificates: what a browser wants of one that nobody has signed, and what is read from files."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.world import one_world
from wsgi_sio.webtransport.certificates import Certificate, make_certificate, read_certificate

pytestmark = one_world


def save(certificate: Certificate, folder: Path, password: bytes | None = None) -> tuple[Path, Path]:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    key = certificate.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    (folder / "cert.pem").write_bytes(certificate.pem)
    (folder / "key.pem").write_bytes(key)
    return folder / "cert.pem", folder / "key.pem"


def test_browsers_take_it_by_its_hash() -> None:
    made = make_certificate(["example.com", "10.0.0.1"])
    (leaf,) = made.chain
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey) and leaf.public_key().curve.name == "secp256r1"
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=14)
    assert leaf.not_valid_before_utc < datetime.now(timezone.utc) - timedelta(minutes=50)
    assert made.expires > datetime.now(timezone.utc) + timedelta(days=12)
    assert made.sha256 == hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).digest()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["example.com"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]


def test_openssl_can_read_it(tmp_path: Path) -> None:
    certfile, _ = save(make_certificate(), tmp_path)
    run = subprocess.run(
        ["openssl", "x509", "-in", certfile, "-noout", "-text"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "DNS:localhost, IP Address:127.0.0.1" in run.stdout


def test_files_are_read_apart_or_together(tmp_path: Path) -> None:
    made, other = make_certificate(), make_certificate()
    certfile, keyfile = save(made, tmp_path)
    read = read_certificate(certfile, keyfile)
    assert read.chain == made.chain and read.secret(b"x") == made.secret(b"x")
    both = tmp_path / "both.pem"
    both.write_bytes(keyfile.read_bytes() + made.pem + other.pem)
    read = read_certificate(both)
    assert read.chain == made.chain + other.chain and read.secret(b"x") == made.secret(b"x")


def test_a_key_with_a_password(tmp_path: Path) -> None:
    made = make_certificate()
    certfile, keyfile = save(made, tmp_path, b"secret")
    assert read_certificate(certfile, keyfile, "secret").secret(b"x") == made.secret(b"x")
    with pytest.raises(TypeError):
        read_certificate(certfile, keyfile)
    with pytest.raises(ValueError):
        read_certificate(certfile, keyfile, "wrong")


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    certfile, keyfile = save(make_certificate(), tmp_path)
    with pytest.raises(ValueError, match="no certificate in"):
        read_certificate(keyfile)
    (tmp_path / "other").mkdir()
    _, other = save(make_certificate(), tmp_path / "other")
    with pytest.raises(ValueError, match="not that of the certificate"):
        read_certificate(certfile, other)
    with pytest.raises(FileNotFoundError):
        read_certificate(tmp_path / "missing.pem", keyfile)
