"""Pseudonyms: one patient, one name; without the key, nobody's."""

import hashlib
import hmac
import stat

import pytest

from thyroid_fl.client.pseudonyms import key_path, pseudonym, site_key
from thyroid_fl.errors import ConfigError


def test_a_pseudonym_is_the_keyed_hash_of_rfc_2104():
    key = bytes(range(32))
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key.ljust(64, b"\0")))
    inner.update(b'["patient", "12345"]')
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key.ljust(64, b"\0")))
    outer.update(inner.digest())

    assert pseudonym(key, "patient", "12345") == outer.hexdigest()[:16]
    assert hmac.new(key, b'["a"]', "sha256").hexdigest()[:16] == pseudonym(key, "a")


def test_names_depend_on_every_part_and_on_the_key():
    names = {
        pseudonym(key, *parts)
        for key in (bytes(32), bytes(31) + b"1")
        for parts in (("a", "bc"), ("ab", "c"), ("abc",), ("abc", ""), ("", "abc"))
    }

    assert len(names) == 10


def test_the_key_is_made_once_for_its_owner_alone(tmp_path, caplog):
    path = tmp_path / "config/thyroid-fl/pseudonym.key"

    made = site_key(path)

    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "made a new key for pseudonyms; back it up" in caplog.text
    assert made.hex() not in caplog.text
    caplog.clear()
    assert site_key(path) == made
    assert not caplog.text
    assert site_key(tmp_path / "other.key") != made


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    site_key(path)
    path.chmod(mode)

    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        site_key(path)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32, "\xff" * 64])
def test_what_is_no_key_is_refused(tmp_path, text):
    path = tmp_path / "key"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)

    with pytest.raises(ConfigError, match="expected a key of 64 hexadecimal digits"):
        site_key(path)


def test_a_folder_in_the_keys_place_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read or make the key"):
        site_key(tmp_path)


def test_the_key_lies_where_the_desktop_standard_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    at_home = tmp_path / ".config/thyroid-fl/pseudonym.key"

    assert key_path() == at_home
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert key_path() == at_home
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/site")
    assert str(key_path()) == "/etc/site/thyroid-fl/pseudonym.key"
