"""What ended or hinders a hospital's connection, in words for its technician."""

import re

STARTS = "thyroid-client: the connection starts"
"""The first line of each start in the log."""
NO_APPS = "thyroid-client: the starter of the apps (flower-superexec) ended"

# The last of these in the log counts; of several in one line the first here.
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
        r"\[code: 200[14]\]|401 Unauthorized",
        "the centre does not know this hospital's key, or has revoked it: send "
        "hospital.key.pub to the centre, and ask for `thyroid-server admit {name} "
        "hospital.key.pub`",
    ),
    (
        r"403 Forbidden|404 Not Found",
        "what answers at {address} is no Flower server: compare address in "
        "hospital.toml with the kit's, or tell the centre",
    ),
    (
        r"Exit Code: 606|incompatible",
        "the centre runs another version of Flower: install the version of the kit",
    ),
    (
        r"Connection attempt failed|Connection refused|Name or service not known",
        "the centre cannot be reached at {address}: check address and firewall; it is "
        "tried again by itself",
    ),
    (re.escape(NO_APPS), "the program that starts the training was ended"),
    (
        r"SuperNode terminated gracefully",
        "it was asked to end (or the centre refused this hospital's key)",
    ),
)


def explain(log: str, *, name: str, address: str) -> str:
    """Return what hinders the connection and what to do; empty if the log has no cause.

    Args:
        log: the end of the SuperNode's log; only what follows the last start counts.
        name: the hospital's.
        address: the centre's.
    """
    last, words = -1, ""
    recent = log.rpartition(STARTS)[2]
    for cause, sentence in _CAUSES:
        for found in re.finditer(cause, recent):
            line = recent.rfind("\n", 0, found.start())
            if line > last or not words:
                last, words = line, sentence
    return words.format(name=name, address=address)
