"""Keys and names of hospitals: what is admitted, what is refused, what is kept."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.centre.keys import PublicKey, read_public_key
from thyroid_fl.server.centre.registry import (
    Admission,
    current,
    names_by_node,
    read_registry,
    refuse_admission,
    write_registry,
)

LARGE = 2**64 - 3  # a node's number that no double can hold
NEW = PublicKey(pem=b"", fingerprint="SHA256:new")


def admission(name="north", node_id=LARGE, fingerprint="SHA256:old", revoked=""):
    return Admission(
        name=name,
        node_id=node_id,
        fingerprint=fingerprint,
        admitted="2026-01-02T03:04:05+00:00",
        revoked=revoked,
    )


def test_registry_keeps_large_node_numbers(tmp_path):
    path = tmp_path / "hospitals.json"
    rows = (admission(), admission("south", LARGE - 1, "SHA256:other"))

    write_registry(path, rows)

    assert read_registry(path) == rows
    assert names_by_node(path) == {LARGE: "north", LARGE - 1: "south"}


def test_other_json_readers_see_the_number_whole(tmp_path):
    write_registry(tmp_path / "hospitals.json", [admission()])

    kept = json.loads((tmp_path / "hospitals.json").read_text(), parse_int=float)

    assert kept["admissions"][0]["node_id"] == str(LARGE)


def test_revoked_hospitals_keep_their_names(tmp_path):
    path = tmp_path / "hospitals.json"

    write_registry(path, [admission(revoked="2026-02-03"), admission(node_id=5)])

    assert names_by_node(path) == {LARGE: "north", 5: "north"}


def test_no_file_is_an_empty_registry(tmp_path):
    assert names_by_node(tmp_path / "hospitals.json") == {}


@pytest.mark.parametrize("text", ["", "[]", '{"admissions": [{"name": "a"}]}'])
def test_damaged_registry_is_refused(tmp_path, text):
    path = tmp_path / "hospitals.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match="damaged"):
        read_registry(path)


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a b", "-a", "a" * 65, "é"])
def test_unsafe_names_are_refused(name):
    with pytest.raises(ConfigError, match="begin with a letter or digit"):
        refuse_admission([], name, NEW)


def test_name_in_use_is_refused_whatever_its_case():
    with pytest.raises(ConfigError, match="already admitted: choose another name"):
        refuse_admission([admission()], "North", NEW)


@pytest.mark.parametrize("revoked", ["", "2026-02-03"])
def test_key_is_admitted_once(revoked):
    used = PublicKey(pem=b"", fingerprint="SHA256:old")

    with pytest.raises(ConfigError, match="make a new pair"):
        refuse_admission([admission(revoked=revoked)], "west", used)


def test_revoked_name_may_come_back_with_a_new_key():
    rows = [admission(revoked="2026-02-03")]

    refuse_admission(rows, "north", NEW)
    with pytest.raises(ConfigError, match="revoked already"):
        current(rows, "north")


def test_unknown_hospital_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match="admitted: north"):
        current([admission()], "nroth")


def test_fingerprint_is_the_one_of_ssh_keygen(key_pair, tool):
    _, public = key_pair()

    printed = tool("ssh-keygen", "-lf", public)

    assert read_public_key(public).fingerprint in printed.stdout


def test_private_key_is_refused_with_words(key_pair):
    private, _ = key_pair()

    with pytest.raises(ConfigError, match="must never leave its hospital"):
        read_public_key(private)


def test_other_kinds_of_keys_are_refused(tmp_path, key_pair):
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    path = tmp_path / "ed.pub"
    path.write_bytes(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))

    with pytest.raises(ConfigError, match="of another kind"):
        read_public_key(path)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_nist_curves_are_taken(key_pair, curve):
    _, public = key_pair(curve=curve)

    assert read_public_key(public).pem.startswith(b"-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\xff" * 99, b"ssh-rsa AAAA"])
def test_files_without_a_key_are_refused(tmp_path, content):
    (tmp_path / "x.pub").write_bytes(content)

    with pytest.raises(ConfigError, match="no OpenSSH public key"):
        read_public_key(tmp_path / "x.pub")


def test_missing_key_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_public_key(tmp_path / "x.pub")
