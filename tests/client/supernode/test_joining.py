"""From the kit to the hospital's folder: a key made here, all or nothing."""

import shutil
import stat
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from typer.testing import CliRunner

from thyroid_fl.client.cli import main
from thyroid_fl.client.policy import read_policy
from thyroid_fl.client.supernode.folder import check_ready, read_hospital
from thyroid_fl.client.supernode.joining import join
from thyroid_fl.errors import ConfigError, ManifestError


def test_the_folder_is_ready_and_holds_what_the_kit_said(kit, manifest, tmp_path):
    made = join(kit, "h1", manifest, tmp_path / "sites" / "h1")

    own = read_hospital(tmp_path / "sites" / "h1")
    check_ready(own, datetime.now(UTC))
    assert own == made.hospital
    assert (own.name, own.address) == ("h1", "centre.example.org:443")
    assert own.manifest == manifest
    assert own.ca.read_bytes() == (kit / "ca.crt").read_bytes()
    assert read_policy(own.policy).least_hospitals == 3
    assert not list((tmp_path / "sites").glob(".*"))


def test_the_key_is_for_this_user_only_and_of_the_right_kind(hospital):
    key = load_ssh_private_key(hospital.key.read_bytes(), None)

    assert stat.S_IMODE(hospital.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(hospital.folder.stat().st_mode) == 0o700
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is absent")
def test_the_fingerprint_is_that_of_ssh_keygen(kit, manifest, tmp_path):
    made = join(kit, "h1", manifest, tmp_path / "h1")

    shown = subprocess.run(
        ["ssh-keygen", "-lf", made.public_key],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    assert shown.split() == ["384", made.fingerprint, "h1", "(ECDSA)"]


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is absent"
)
def test_systemd_takes_the_unit(kit, manifest, tmp_path):
    made = join(kit, "h1", manifest, tmp_path / "a folder")

    done = subprocess.run(
        ["systemd-analyze", "verify", made.unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    ours = [line for line in done.stderr.splitlines() if "thyroid-client" in line]
    assert done.returncode == 0, done.stderr
    assert ours == []


def test_a_folder_with_a_key_is_never_touched(kit, manifest, hospital):
    before = hospital.key.read_bytes()

    with pytest.raises(ConfigError, match="a key is never overwritten"):
        join(kit, "h1", manifest, hospital.folder)

    assert hospital.key.read_bytes() == before


def test_a_kit_of_another_version_is_refused_with_words(kit, manifest, tmp_path):
    (kit / "kit.toml").write_text('address = "c:1"\nversion = "9.9"\nnew_key = 1\n')

    with pytest.raises(ConfigError, match=r"the kit is of thyroid-fl 9\.9, but "):
        join(kit, "h1", manifest, tmp_path / "h1")

    assert not (tmp_path / "h1").exists()


BAD_KITS = {
    "ca.crt": (None, "ca.crt is missing"),
    "policy.toml": ("most_rounds = 1", "policy.toml: the key tasks is missing"),
    "kit.toml": ('version = "VERSION"', "the key address is missing"),
}


@pytest.mark.parametrize("file", BAD_KITS)
def test_an_incomplete_kit_leaves_nothing_behind(kit, manifest, tmp_path, file):
    text, words = BAD_KITS[file]
    version = (kit / "kit.toml").read_text().split('"')[3]
    (kit / file).unlink()
    if text:
        (kit / file).write_text(text.replace("VERSION", version))
    before = set(tmp_path.iterdir())

    with pytest.raises(ConfigError, match=words):
        join(kit, "h1", manifest, tmp_path / "h1")

    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "address", ["centre", "https://c:1/x", "c:99999", ":443", "c:"]
)
def test_an_address_must_be_host_and_port(kit, manifest, tmp_path, address):
    text = (kit / "kit.toml").read_text().replace("centre.example.org:443", address)
    (kit / "kit.toml").write_text(text)

    with pytest.raises(ConfigError, match="expected host:port"):
        join(kit, "h1", manifest, tmp_path / "h1")


@pytest.mark.parametrize("name", ["", "../x", "a b", "-a", "ä", "a\n", "x" * 64])
def test_a_name_must_be_plain(kit, manifest, tmp_path, name):
    with pytest.raises(ConfigError, match="--name"):
        join(kit, name, manifest, tmp_path / "h1")


def test_a_manifest_that_cannot_be_used_leaves_nothing_behind(kit, tmp_path):
    with pytest.raises(ManifestError):
        join(kit, "h1", tmp_path / "absent.csv", tmp_path / "h1")

    assert not (tmp_path / "h1").exists()


def test_the_command_says_what_to_send_and_what_is_next(
    kit, manifest, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(
        main, ["init", str(kit), "--name", "h1", "--manifest", str(manifest)]
    )

    assert done.exit_code == 0
    assert f"Send {tmp_path / 'h1' / 'hospital.key.pub'} to the centre" in done.stdout
    assert "SHA256:" in done.stdout
    assert "PRIVATE" not in done.stdout
