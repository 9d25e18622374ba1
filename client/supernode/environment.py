"""The environment in which Flower runs in a hospital; it is set before its import."""

import sys
from collections.abc import Mapping
from pathlib import Path

# Each would send the connection, or trust, somewhere else than hospital.toml says.
_REDIRECTING = {
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy",
    "ssl_cert_file", "ssl_cert_dir", "sslkeylogfile", "requests_ca_bundle",
}  # fmt: skip


def hardened(environment: Mapping[str, str], state: Path) -> dict[str, str]:
    """Return the environment of the SuperNode and of the apps that it starts.

    Nothing calls home; nothing is installed at run time; no proxy and no other
    certificates than the kit's; Flower's files lie in the hospital's folder. All else,
    such as ``PYTHONPATH`` and the number of threads, stays.

    Args:
        environment: the one to start from.
        state: the hospital's folder for what is kept.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("FLWR_") and name.lower() not in _REDIRECTING
    }
    programs = str(Path(sys.executable).parent)
    return kept | {
        # Flower starts its programs by name; systemd's path is a short one.
        "PATH": f"{programs}:{kept.get('PATH', '/usr/bin:/bin')}",
        "FLWR_HOME": str(state / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "DO_NOT_TRACK": "true",
        "NO_PROXY": "*",
    }
