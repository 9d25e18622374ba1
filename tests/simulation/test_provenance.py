"""Where a result comes from can be told from its provenance."""

import hashlib
import json
import time
from datetime import datetime
from importlib import metadata

import pytest

from thyroid_fl.simulation.provenance import provenance


@pytest.fixture
def facts(tmp_path):
    (tmp_path / "manifest.csv").write_text("image_id\na\n")
    return provenance(tmp_path / "manifest.csv", started=time.time() - 90)


def test_it_survives_json(facts):
    assert json.loads(json.dumps(facts)) == facts


def test_it_names_the_manifest_by_its_content(facts):
    expected = hashlib.sha256(b"image_id\na\n").hexdigest()

    assert facts["manifest_sha256"] == expected


def test_it_names_versions_machine_and_source(facts):
    for package in ("thyroid-fl", "torch", "flwr", "numpy"):
        assert facts["versions"][package] == metadata.version(package)
    assert facts["machine"].keys() == {"processor", "cores", "device", "system"}
    assert facts["machine"]["processor"]
    assert facts["machine"]["cores"] >= 1
    assert facts["git_commit"] is None or len(facts["git_commit"]) == 40


def test_it_tells_when_and_how_long(facts):
    started = datetime.fromisoformat(facts["started"])

    assert started.tzinfo is not None
    assert time.time() - started.timestamp() == pytest.approx(90, abs=10)
    assert facts["seconds"] == pytest.approx(90, abs=10)
