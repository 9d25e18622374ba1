"""A centre's kit and a hospital's folder, without any process."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from PIL import Image

import thyroid_fl
from thyroid_fl.client.supernode.joining import join

POLICY = """
tasks = ["classification"]
strategies = ["fedavg"]
most_rounds = 20
most_local_epochs = 2
least_hospitals = 3
least_noise = 0
evaluation = "metrics"
"""


def certificate(days: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - timedelta(days=9))
    signed = builder.not_valid_after(now + timedelta(days=days)).sign(
        key, hashes.SHA256()
    )
    return signed.public_bytes(Encoding.PEM)


@pytest.fixture
def make_certificate():
    return certificate


@pytest.fixture
def kit(tmp_path):
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(certificate(days=9))
    (folder / "policy.toml").write_text(POLICY)
    (folder / "kit.toml").write_text(
        f'address = "centre.example.org:443"\nversion = "{thyroid_fl.__version__}"\n'
    )
    return folder


@pytest.fixture
def manifest(tmp_path):
    folder = tmp_path / "pictures of H1"
    folder.mkdir()
    noise = np.random.default_rng(1).integers(0, 255, (60, 80), np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    path = folder / "manifest.csv"
    path.write_text("image_id,patient_id,hospital,image,malignant\na,p1,H1,a.png,1\n")
    return path


@pytest.fixture
def hospital(kit, manifest, tmp_path):
    return join(kit, "h1", manifest, tmp_path / "h1").hospital
