"""What ends or hinders a connection is told in words, with what to do."""

import pytest

from thyroid_fl.client.supernode.words import CONNECTED, NO_APPS, STARTS, explain

# As Flower 1.41 wrote them.
UNKNOWN = "Exit Code: 305\nFailed to initialize\n[code: 2004] Failed to activate SuperN"
WRONG_CA = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get"
LOGS = {
    "unknown key": (UNKNOWN, "ask for `thyroid-server admit h1 hospital.key.pub`"),
    "no key": ("[code: 2001] SuperNode authentication is enabled", "does not know"),
    "wrong CA": (WRONG_CA, "the server at centre:443 is not the centre of this kit"),
    "expired": (WRONG_CA + " certificate has expired (_ssl.c:1)", "has expired"),
    "other name": (WRONG_CA + " Hostname mismatch, certificate", "not made out to cen"),
    "plain HTTP": ("[SSL: WRONG_VERSION_NUMBER] wrong version", "does not speak TLS"),
    "no centre": ("Connection attempt failed, retrying in 2 s", "cannot be reached"),
    "no Flower": ("Client error '404 Not Found' for url", "is no Flower server"),
    "no apps": (NO_APPS, "the program that starts the training was ended"),
    "graceful": ("SuperNode terminated gracefully.", "it was asked to end"),
    "nothing known": ("segmentation fault", ""),
}


@pytest.mark.parametrize("kind", LOGS)
def test_each_cause_has_its_words(kind):
    log, words = LOGS[kind]

    told = explain(f"{STARTS}\n{log}\n", name="h1", address="centre:443")

    assert words in told
    assert bool(words) == bool(told)


def test_the_last_cause_counts():
    log = f"{STARTS}\nConnection attempt failed, retrying\n{UNKNOWN}\n"

    assert "does not know" in explain(log, name="h1", address="c:1")


@pytest.mark.parametrize(
    "healed", [STARTS, CONNECTED, "Connection successful after 3.00 seconds"]
)
def test_what_was_before_a_start_or_a_success_is_past(healed):
    assert explain(f"{UNKNOWN}\n{healed}\n", name="h1", address="c:1") == ""


def test_a_connection_that_was_just_cut_is_no_unknown_key():
    told = explain(UNKNOWN, name="h1", address="c:1", silent_s=20.0)

    assert "still counts the connection" in told
    assert "does not know" in explain(UNKNOWN, name="h1", address="c:1", silent_s=200.0)
