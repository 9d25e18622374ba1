"""What ended or hinders a hospital's connection, in words for its technician."""

import re

STARTS = "thyroid-client: the connection starts"
"""Written to the log at each start."""
CONNECTED = "thyroid-client: connected to the centre"
"""Written to the log when the centre has let the hospital in."""
NO_APPS = "thyroid-client: the starter of the apps (flower-superexec) ended"

STILL_OPEN_S = 120.0
"""So long after its last word a centre may still count a cut connection as open."""

_REFUSED = r"\[code: 200[14]\]|401 Unauthorized"
# The last in the log counts; of several in one line the first here.
_CAUSES = (
    (
        r"certificate has expired",
        "the centre's certificate has expired: tell the centre",
    ),
    (
        r"(Hostname|IP address) mismatch",
        "the centre's certificate is not made out to {address}: compare address in "
        "hospital.toml with the kit's, or tell the centre",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the server at {address} is not the centre of this kit (its certificate is "
        "not signed by ca.crt): do not go on before the centre explains it; it may "
        "have sent a new kit",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|Server disconnected without",
        "the server at {address} does not speak TLS: compare address in hospital.toml "
        "with the kit's, or tell the centre",
    ),
    (
        _REFUSED,
        "the centre does not know this hospital's key, or has revoked it: send "
        "hospital.key.pub to the centre, and ask for `thyroid-server admit {name} "
        "hospital.key.pub` (or this machine's clock is wrong, or another program is "
        "connected with a copy of the key)",
    ),
    (
        r"Redirect response|403 Forbidden|404 Not Found",
        "what answers at {address} is no Flower server: compare address in "
        "hospital.toml with the kit's, or tell the centre",
    ),
    (
        r"Exit Code: 606",
        "the centre runs another version of Flower: install the version of the kit",
    ),
    (
        r"Connection attempt failed|Connection refused|Name or service not known",
        "the centre cannot be reached at {address}: check address and firewall; it is "
        "tried again by itself",
    ),
    (re.escape(NO_APPS), "the program that starts the training was ended"),
)
_STILL_OPEN = (
    "the centre still counts the connection that was cut off as open; this ends by "
    "itself within two minutes. If it lasts, the hospital's key was revoked"
)
_ENDED = "it was asked to end, or the centre has revoked this hospital's key"
_GOOD = re.compile(
    rf"{re.escape(STARTS)}|{re.escape(CONNECTED)}|Connection successful after"
)


def explain(log: str, *, name: str, address: str, silent_s: float | None = None) -> str:
    """Return what hinders the connection and what to do; empty if the log has no cause.

    Args:
        log: the end of the SuperNode's log; only what follows the last start or
            success counts.
        name: the hospital's.
        address: the centre's.
        silent_s: seconds since the centre was last heard; None: never.
    """
    recent = _GOOD.split(log)[-1]
    last, words = -2, ""
    for cause, sentence in _CAUSES:
        for found in re.finditer(cause, recent):
            line = recent.rfind("\n", 0, found.start())
            if line > last:
                last, words = line, sentence
                # The centre answers a living connection and a foreign key alike.
                if cause == _REFUSED and (silent_s or STILL_OPEN_S) < STILL_OPEN_S:
                    words = _STILL_OPEN
    if not words and "SuperNode terminated gracefully" in recent:
        return _ENDED
    return words.format(name=name, address=address)
