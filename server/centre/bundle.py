"""The bundle that Flower sends to the hospitals: names of apps and settings, no code.

A hospital runs the code that it has installed itself, and refuses any other bundle.
"""

import hashlib

from flwr.cli.build import build_fab_from_files
from flwr.supercore.fab import Fab

import thyroid_fl

# Flower takes no setting of a run that the bundle does not name under `config`.
_PYPROJECT = f"""\
[project]
name = "thyroid-fl"
version = "{thyroid_fl.__version__}"
description = "Federated learning across hospitals for thyroid ultrasound"
license = "AGPL-3.0-or-later"

[tool.flwr.app]
publisher = "thyroidfl"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "thyroid_fl.server.app:app"
clientapp = "thyroid_fl.client.app:app"

[tool.flwr.app.config]
ask = "training"
study = ""
out = ""
hospitals = ""
test = true
"""
_README = """\
# thyroid-fl

This bundle holds no code.
It names the apps of the installed package thyroid-fl and the settings of a run.
"""


def build_bundle() -> Fab:
    """Return the bundle of the installed package: the same bytes at every call."""
    files = {"pyproject.toml": _PYPROJECT.encode(), "README.md": _README.encode()}
    content, _ = build_fab_from_files(files)
    return Fab(hashlib.sha256(content).hexdigest(), content, {})
