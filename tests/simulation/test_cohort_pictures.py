"""The synthetic cohort on disk: whole, sound, the same each time, or not there."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from thyroid_fl.errors import ConfigError
from thyroid_fl.manifest import manifest_faults, read_manifest, read_table
from thyroid_fl.masks import boxes_of_mask, read_mask
from thyroid_fl.picture_check import inspect_pictures
from thyroid_fl.simulation.cohort import Assumptions, cohort
from thyroid_fl.simulation.cohort.pictures import open_cohort

SMALLEST = {"scale": 0.021, "picture_px": 32}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return open_cohort(tmp_path_factory.mktemp("cohort") / "first", **SMALLEST)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_it_has_no_fault(manifest):
    cases = read_manifest(manifest)

    assert manifest_faults(read_table(manifest), manifest.parent) == []
    assert inspect_pictures(cases, manifest.parent).faults == []


def test_it_has_a_row_for_every_picture_of_every_patient(manifest):
    cases = read_manifest(manifest)
    patients = cohort(scale=SMALLEST["scale"]).set_index("patient_id")

    assert cases["hospital"].nunique() == 208
    counted = cases.groupby("patient_id").size()
    pd.testing.assert_series_equal(
        counted, patients["n_images"].sort_index(), check_names=False
    )
    first = cases.groupby("patient_id").first()
    for name in ("hospital", "malignant", "vendor", "device", "region", "sex", "age"):
        assert (first[name] == patients[name].sort_index()).all(), name
    sizes = {Image.open(manifest.parent / path).size for path in cases["image"][:20]}
    assert sizes == {(32, 32)}


def test_only_annotated_pictures_have_a_mask_and_its_box(manifest):
    cases = read_manifest(manifest)
    patients = cohort(scale=SMALLEST["scale"]).set_index("patient_id")

    masked = cases["mask"].notna()
    annotated = masked.groupby(cases["patient_id"]).sum()
    wanted = patients["n_annotated_images"].sort_index()
    pd.testing.assert_series_equal(
        annotated, wanted, check_names=False, check_dtype=False
    )
    assert 0 < masked.sum() < len(cases)
    assert (cases["boxes"].map(bool) == masked).all()
    assert len(list((manifest.parent / "masks").iterdir())) == masked.sum()
    for case in cases[masked].itertuples():
        assert case.boxes == boxes_of_mask(read_mask(manifest.parent / case.mask))


def test_it_is_the_same_to_the_byte(manifest, tmp_path):
    again = open_cohort(tmp_path / "again", **SMALLEST)

    assert contents(again.parent) == contents(manifest.parent)


def test_it_is_drawn_once_and_says_what_is_assumed(manifest):
    told = []
    written = manifest.stat().st_mtime_ns

    same = open_cohort(
        manifest.parent, **SMALLEST, progress=lambda *done: told.append(done)
    )

    assert (same, told) == (manifest, [])
    assert manifest.stat().st_mtime_ns == written
    facts = json.loads((manifest.parent / "cohort.json").read_text())
    assert facts["cohort"]["scale"] == SMALLEST["scale"]
    assert facts["cohort"]["largest_hospital"] == Assumptions().largest_hospital
    assert 0.8 < facts["bayes_auc"] < 1


@pytest.mark.parametrize("other", [{"scale": 0.03}, {"seed": 2}, {"picture_px": 40}])
def test_a_folder_with_another_cohort_is_refused(manifest, other):
    with pytest.raises(ConfigError, match="other settings: choose another folder"):
        open_cohort(manifest.parent, **SMALLEST | other)


def test_a_folder_that_is_no_cohort_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("two years of work")

    with pytest.raises(ConfigError, match="is not a synthetic cohort"):
        open_cohort(tmp_path, **SMALLEST)

    assert contents(tmp_path) == {"thesis.txt": b"two years of work"}


def test_an_interrupted_drawing_leaves_nothing(tmp_path):
    told = []

    def interrupt(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cohort(tmp_path / "cut", **SMALLEST, progress=interrupt)

    assert told[-1][0] < told[-1][1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"scale": 0.02}, "scale is 0.02, which is 200 patients"),
     ({"scale": 1.5}, "scale is 1.5"), ({"picture_px": 8}, "phantom of 8 px")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        open_cohort(tmp_path / "out", **SMALLEST | wrong)

    assert list(tmp_path.iterdir()) == []
