"""The centre's own certificate authority, and the certificate of its server.

Hospitals trust this one CA and no other, so that nobody else can pose as the centre.
The extensions are those that OpenSSL's strict verification asks for, which Python
switches on from 3.13 (RFC 5280, section 4.2).
"""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
SERVER_DAYS = 825
"""The longest that all common TLS libraries accept."""
_NO_USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment",
        "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
        "encipher_only", "decipher_only",
    ),
    False,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> str:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """Return the private key as PEM, without a password."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()


def make_ca(name: str, now: datetime.datetime) -> Issued:
    """Return a new certificate authority (EC P-384), valid for ten years.

    Args:
        name: what certificates show as their issuer.
        now: the time of issue, with a time zone.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _named(f"{name} CA")
    usage = x509.KeyUsage(**_NO_USAGE | {"key_cert_sign": True, "crl_sign": True})
    builder = (
        _builder(subject, subject, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(_authority(key), critical=False)
    )
    return Issued(certificate=builder.sign(key, hashes.SHA384()), key=key)


def make_server(
    ca: Issued, name: str, hosts: Iterable[str], now: datetime.datetime
) -> Issued:
    """Return a server's certificate, signed by the CA, valid for 825 days.

    Args:
        ca: signs it.
        name: its subject.
        hosts: names and IP addresses under which it is reached, in any number.
        now: the time of issue, with a time zone.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    names = x509.SubjectAlternativeName(
        [_general(host) for host in dict.fromkeys(hosts)]
    )
    usage = x509.KeyUsage(**_NO_USAGE | {"digital_signature": True})
    builder = (
        _builder(_named(name), ca.certificate.subject, key, now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(names, critical=False)
        .add_extension(_authority(ca.key), critical=False)
    )
    return Issued(certificate=builder.sign(ca.key, hashes.SHA384()), key=key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour of slack: hospitals' clocks differ.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(identifier, critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "thyroid-fl"),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),  # the standard's limit
        ]
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
