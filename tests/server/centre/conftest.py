"""A centre's folder, and keys as hospitals send them."""

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from thyroid_fl.server.centre.provision import provision
from thyroid_fl.server.cli import main


@pytest.fixture(scope="session")
def study_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.toml"
    path.write_text(
        'task = "segmentation"\nsplit = "patient"\nstrategy = "fedprox"\n'
        "rounds = 7\nlocal_epochs = 3\nmin_hospitals = 4\n"
    )
    return path


@pytest.fixture(scope="session")
def provisioned(study_file, tmp_path_factory):
    """A centre that no test changes."""
    folder = tmp_path_factory.mktemp("centre") / "c"
    return provision(
        study_file,
        folder,
        address="fl.example.org:28443",
        also=("fl2.example.org", "192.0.2.7", "2001:db8::7"),
        superlink_port=28000,
    )


@pytest.fixture
def centre(provisioned, tmp_path):
    """The path of a copy of the centre, for the test to change."""
    shutil.copytree(provisioned.root, tmp_path / "c")
    return tmp_path / "c"


@pytest.fixture
def call():
    """Return a function that runs thyroid-server with these arguments."""
    return lambda *arguments: CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def key_pair(tmp_path):
    """Return a function that writes a pair NAME, NAME.pub and returns both paths."""

    def write(name="hospital", curve=None):
        key = ec.generate_private_key(curve or ec.SECP384R1())
        private, public = tmp_path / name, tmp_path / f"{name}.pub"
        private.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        )
        public.write_bytes(
            key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            + b" hospital@example.org\n"
        )
        return private, public

    return write


@pytest.fixture
def tool():
    """Return a function that runs a system's tool; skip where it is absent."""

    def run(name, *arguments):
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{name} is not installed on this machine")
        return subprocess.run(
            [path, *map(str, arguments)], capture_output=True, text=True, timeout=60
        )

    return run
