"""The bundle: no code, always the same, and what Flower takes."""

import io
import tomllib
import zipfile

from flwr.common.config import get_fab_config
from flwr.supercore.fab import Fab

import thyroid_fl
from thyroid_fl.server.centre.bundle import build_bundle


def files(bundle: Fab):
    with zipfile.ZipFile(io.BytesIO(bundle.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_bundle_holds_no_code():
    assert set(files(build_bundle())) == {
        "pyproject.toml",
        "README.md",
        ".info/CONTENT",
    }


def test_bundle_names_the_installed_apps_and_version():
    config = tomllib.loads(files(build_bundle())["pyproject.toml"].decode())

    assert config["project"]["version"] == thyroid_fl.__version__
    app = config["tool"]["flwr"]["app"]
    assert app["components"] == {
        "serverapp": "thyroid_fl.server.app:app",
        "clientapp": "thyroid_fl.client.app:app",
    }
    assert set(app["config"]) == {"ask", "study", "out", "hospitals", "test"}


def test_bundle_is_the_same_everywhere(tmp_path, monkeypatch):
    first = build_bundle()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stray.json").write_text("{}")

    second = build_bundle()

    assert (first.hash_str, first.content) == (second.hash_str, second.content)


def test_flower_reads_the_bundle():
    assert get_fab_config(build_bundle().content)["project"]["name"] == "thyroid-fl"
