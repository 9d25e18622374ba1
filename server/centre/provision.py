"""``thyroid-server provision``: everything that a centre and its hospitals need."""

import datetime
import json
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

import thyroid_fl
from thyroid_fl.errors import ConfigError
from thyroid_fl.files import write_text
from thyroid_fl.server.centre.certificates import make_ca, make_server
from thyroid_fl.server.centre.folder import (
    SUPERLINK_HOST,
    Centre,
    check_host,
    check_port,
    split_address,
)
from thyroid_fl.server.centre.studies import read_study
from thyroid_fl.settings import Study

HTTPS_PORT = 443
SECRET_BYTES = 48

_PLAIN = re.compile(r"[A-Za-z0-9./_+-]+")


def provision(
    study: Path,
    folder: Path,
    *,
    address: str,
    also: Sequence[str] = (),
    superlink_port: int = 18000,
) -> Centre:
    """Write a centre's folder, whole or not at all; return the centre.

    Args:
        study: a study.toml; it is checked and copied.
        folder: a new one, or an empty one.
        address: ``HOST:PORT`` that hospitals will connect to.
        also: more names and IP addresses of the server, for its certificate.
        superlink_port: of the SuperLink, on 127.0.0.1.

    Raises:
        ConfigError: a setting cannot be used, or the folder exists and is not empty.
    """
    settings = read_study(study)
    host, _ = split_address(address)
    for other in also:
        check_host(other)
    check_port(superlink_port)
    _refuse_existing(folder)
    centre = Centre(
        root=folder.resolve(), address=address, superlink_port=superlink_port
    )
    _check_addresses(centre)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_keys(beside, host, also)
        _write_settings(beside, centre, study)
        _write_machine(beside, centre, host)
        _write_kit(beside, centre, settings)
        beside.chmod(0o755)
        beside.replace(folder)
    except BaseException:
        shutil.rmtree(beside)
        raise
    return centre


def _refuse_existing(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(
            f"{folder} exists and is not empty: name a new folder; a second CA in an "
            "old one would shut out the hospitals that have its kit"
        )


def _check_addresses(centre: Centre) -> None:
    if not _PLAIN.fullmatch(str(centre.root)):
        raise ConfigError(
            f"{centre.root}: choose a folder whose path has letters, digits and ./_+- "
            "only: it is written into the configurations of nginx and systemd"
        )
    _, port = split_address(centre.address)
    if port == centre.superlink_port and not centre.is_direct:
        raise ConfigError(
            f"nginx at {centre.address} and the SuperLink cannot share the port "
            f"{port}: choose another --superlink-port"
        )


def _write_keys(root: Path, host: str, also: Sequence[str]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ca = make_ca(host, now)
    server = make_server(ca, host, (host, "localhost", SUPERLINK_HOST, *also), now)
    for folder, name, issued in (("ca", "ca", ca), ("tls", "server", server)):
        (root / folder).mkdir()
        write_text(root / folder / f"{name}.key", issued.key_pem, 0o600)
        write_text(root / folder / f"{name}.crt", issued.certificate_pem)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    write_text(root / "superexec.secret", secret, 0o600)


def _write_settings(root: Path, centre: Centre, study: Path) -> None:
    shutil.copyfile(study, root / "study.toml")
    _render(root / "centre.toml", "centre.toml", centre=centre)
    for private in ("superlink", "logs", "runs"):
        (root / private).mkdir(mode=0o700)


def _write_machine(root: Path, centre: Centre, host: str) -> None:
    """Write what the machine's administrator puts in place: nginx and systemd."""
    program = Path(sys.executable).parent / "thyroid-server"
    _render(
        root / "systemd" / "thyroid-centre.service",
        "centre.service",
        centre=centre,
        program=program,
    )
    port = HTTPS_PORT if centre.is_direct else split_address(centre.address)[1]
    site = {"centre": centre, "host": host, "port": port}
    (root / "nginx" / "logs").mkdir(parents=True)
    _render(
        root / "nginx" / "thyroid-fl.conf",
        "site.conf",
        **site,
        folder=centre.root,
        log="/var/log/nginx/thyroid-fl.log",
    )
    if not centre.is_direct:
        # Relative to nginx.conf and to -p, so that this one needs no fixed place.
        _render(
            root / "nginx" / "nginx.conf",
            "nginx.conf",
            **site,
            folder="..",
            log="logs/access.log",
        )


def _write_kit(root: Path, centre: Centre, study: Study) -> None:
    kit = root / "kit"
    kit.mkdir()
    shutil.copyfile(root / "ca" / "ca.crt", kit / "ca.crt")
    shared = {
        "centre": centre,
        "study": study,
        "version": thyroid_fl.__version__,
        "host": split_address(centre.address)[0],
    }
    _render(kit / "kit.toml", "kit.toml", **shared)
    _render(kit / "policy.toml", "policy.toml", **shared)
    _render(kit / "README.md", "kit.md", **shared)


def _render(path: Path, template: str, **values: object) -> None:
    """Write a file from its template; in the templates `toml` quotes a text."""
    templates = Environment(
        loader=PackageLoader("thyroid_fl.server.centre", "."),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # no HTML; what goes in is checked
    )
    templates.filters["toml"] = json.dumps  # a TOML string for the texts that we have
    text = templates.get_template(f"{template}.jinja").render(**values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
