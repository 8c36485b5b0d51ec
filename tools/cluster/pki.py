"""One certificate authority and its leaf certificates, as files in a private folder."""

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


def write_private(path: Path, data: bytes) -> Path:
    """Write a file that only its owner may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(data)
    return path


class PKI:
    """A CA that lives for a week; `leaf` signs client and server certificates with it."""

    def __init__(self, folder: Path, name: str = "local-cluster-ca") -> None:
        self.dir = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self.cert = (
            self._builder(subject, subject, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.ca_crt = write_private(folder / "ca.crt", self.cert.public_bytes(PEM))
        self.ca_key = write_private(folder / "ca.key", self._key_pem(self.key))

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=7))
        )

    @staticmethod
    def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def leaf(
        self, name: str, cn: str, orgs: Iterable[str] = (), dns: Iterable[str] = (), ips: Iterable[str] = ()
    ) -> tuple[Path, Path]:
        """Files NAME.crt and NAME.key: user `cn` in groups `orgs`, and a server of the names `dns` and `ips`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in orgs]
            + [x509.NameAttribute(NameOID.COMMON_NAME, cn)]
        )
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = (
            self._builder(subject, self.cert.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(both, critical=False)
        )
        names = [x509.DNSName(d) for d in dns] + [x509.IPAddress(ipaddress.ip_address(i)) for i in ips]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        cert = builder.sign(self.key, hashes.SHA256())
        return (
            write_private(self.dir / f"{name}.crt", cert.public_bytes(PEM)),
            write_private(self.dir / f"{name}.key", self._key_pem(key)),
        )

    def key_pair(self, name: str) -> tuple[Path, Path]:
        """A signing key and its public half, NAME.key and NAME.pub (for service-account tokens)."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return (
            write_private(self.dir / f"{name}.key", self._key_pem(key)),
            write_private(self.dir / f"{name}.pub", public),
        )
