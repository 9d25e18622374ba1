"""What a hospital accepts of a Flower App Bundle: settings, never code.

A bundle is a zip that the centre sends before the first message of a run. Flower would
unpack it, put its folder first on Python's path, and import the app that it names. So
it may hold nothing that can be imported, and must name the app that is installed here.
"""

import hashlib
import re
import stat
import tomllib
import zipfile
import zlib
from io import BytesIO
from typing import Any

APP = "thyroid_fl.client.app:app"
"""The one app that runs in a hospital: the installed one."""
SERVER_APP_TASK = "flwr-serverapp"
"""Flower's word for a run that is led by a ServerApp."""
MOST_BYTES = 1 << 20
"""Of a bundle, and of each file in it."""

_CONTENT = ".info/CONTENT"
_PROJECT = "pyproject.toml"
_FILES = {_PROJECT, "README.md", _CONTENT}
_APP_KEYS = {
    "publisher", "display-name", "color", "components", "config", "fab-include",
    "fab-exclude", "fab-format-version", "flwr-version-target",
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_+-]|\.(?!\.)){0,63}")
_UNREADABLE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError,
    ValueError, KeyError, TypeError, NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip


class _RefusedError(Exception):
    """The bundle is refused; the text says why."""


def refuse_bundle(content: bytes, expected_sha256: str) -> str | None:
    """Return why a bundle must not be used, or None.

    The text names the bundle's parts, nothing of the hospital: the centre may see it.

    Args:
        content: the bundle, a zip.
        expected_sha256: in hexadecimal, of the bundle that the run names.
    """
    if hashlib.sha256(content).hexdigest() != expected_sha256:
        return "the bundle is another one than its run names (SHA-256 differs)"
    if len(content) > MOST_BYTES:
        return f"the bundle has {len(content)} bytes; at most {MOST_BYTES} are accepted"
    try:
        with zipfile.ZipFile(BytesIO(content)) as bundle:
            _check_files(bundle)
            _check_list(bundle.read(_CONTENT).decode())
            _check_project(tomllib.loads(bundle.read(_PROJECT).decode()))
    except _RefusedError as refused:
        return str(refused)
    except _UNREADABLE as error:
        return f"the bundle cannot be read ({type(error).__name__})"
    return None


def refuse_run(
    content: bytes, *, fab_id: str, fab_version: str, task_type: str
) -> str | None:
    """Return why a run of an accepted bundle must not be answered, or None.

    Flower looks for the unpacked bundle in a folder that it names after what the *run*
    says: with another name than the bundle's own it would load another folder's app.

    Args:
        content: a bundle that `refuse_bundle` accepts.
        fab_id: publisher/name, as the run says.
        fab_version: as the run says.
        task_type: what leads the run.
    """
    if task_type != SERVER_APP_TASK:
        return f"the run is led by {_shown(task_type)}; only a ServerApp is answered"
    with zipfile.ZipFile(BytesIO(content)) as bundle:
        project = tomllib.loads(bundle.read(_PROJECT).decode())
    own_id = (
        f"{project['tool']['flwr']['app']['publisher']}/{project['project']['name']}"
    )
    if (fab_id, fab_version) != (own_id, project["project"]["version"]):
        return "the run names another app or version than its bundle"
    return None


def _check_files(bundle: zipfile.ZipFile) -> None:
    seen = set()
    for file in bundle.infolist():
        # The original name: what is shown may be cut at a NUL.
        name, kind = file.orig_filename, stat.S_IFMT(file.external_attr >> 16)
        if name not in _FILES or file.filename != name:
            raise _RefusedError(
                f"the bundle holds {_shown(name)}; a hospital accepts only "
                f"{', '.join(sorted(_FILES))}, and runs no code but its own"
            )
        if name in seen:
            raise _RefusedError(f"the bundle holds {name} twice")
        if kind not in (0, stat.S_IFREG):
            raise _RefusedError(f"{name} in the bundle is no plain file")
        if file.flag_bits & 0x1:
            raise _RefusedError(f"{name} in the bundle is encrypted")
        if file.file_size > MOST_BYTES:
            raise _RefusedError(f"{name} in the bundle is larger than {MOST_BYTES} B")
        seen.add(name)
    for name in (_PROJECT, _CONTENT):
        if name not in seen:
            raise _RefusedError(f"the bundle has no {name}")


def _check_list(listed: str) -> None:
    """Refuse a list of hashes that names other files: Flower would look at them."""
    for line in listed.strip().split("\n"):
        if line.split(",")[0] not in _FILES - {_CONTENT}:
            raise _RefusedError(f"{_CONTENT} lists {_shown(line.split(',')[0])}")


def _check_project(project: dict[str, Any]) -> None:
    flower, named = project["tool"]["flwr"], project["project"]
    app = flower["app"]
    unknown = [*(set(flower) - {"app"}), *(set(app) - _APP_KEYS)]
    if unknown:
        raise _RefusedError(
            f"{_PROJECT}: unknown key {_shown(min(unknown))} for Flower"
        )
    components = app["components"]
    if other := set(components) - {"serverapp", "clientapp"}:
        raise _RefusedError(
            f"{_PROJECT}: names {_shown(min(other))}; a hospital runs only a clientapp"
        )
    if components.get("clientapp") != APP:
        raise _RefusedError(
            f"{_PROJECT}: clientapp is {_shown(components.get('clientapp'))}; a "
            f"hospital runs only {APP}"
        )
    for key, value in (
        ("publisher", app["publisher"]),
        ("name", named["name"]),
        ("version", named["version"]),
    ):
        # They become the name of a folder.
        if not isinstance(value, str) or not _PLAIN.fullmatch(value):
            raise _RefusedError(f"{_PROJECT}: {key} is {_shown(value)}")


def _shown(text: object) -> str:
    """Return foreign text as a log may show it: short, printable, in quotes."""
    return ascii(str(text)[:60])
