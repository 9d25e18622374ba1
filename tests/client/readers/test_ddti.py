"""DDTI: outlines become masks, and no case is on two sides."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.errors import ManifestError
from thyroid_fl.manifest import read_manifest
from thyroid_fl.masks import read_mask

REAL = Path(__file__).parents[3] / "../shared/data/ddti"
UNITED = "outlines of one nodule are united, those of a few pixels ignored"
needs_ddti = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real DDTI is not beside the repository"
)


def account(notes):
    return {note.reason: note.image_ids for note in notes if note.image_ids}


def test_ddti_quirks_are_mended_and_accounted_for(imported):
    done, cases = imported("ddti")

    assert cases.index.tolist() == [
        "1_1", "1_2", "2_3", "3_1", "4_1", "5_1", "6_1", "6_2"
    ]  # fmt: skip
    assert cases["hospital"].unique().tolist() == ["DDTI"]
    assert cases["patient_id"].tolist() == ["1", "1", "2", "3", "4", "5", "1", "1"]
    assert cases["malignant"].isna().all()  # TI-RADS is no pathology
    assert cases["tirads"].dropna().tolist() == ["4a", "4a", "2", "5", "3", "3"]
    assert cases["sex"].dropna().tolist() == ["F", "F", "M", "F", "F", "F"]
    assert cases["age"].dropna().tolist() == [44, 44, 40, 30, 31, 31]
    assert cases.loc["1_1", "boxes"] == ((5, 5, 20, 20), (28, 20, 41, 33))
    assert cases.loc["4_1", "boxes"] == ((0, 0, 17, 17),)  # cut at the edge
    assert cases.loc["5_1", "boxes"] == ((5, 5, 27, 27),)  # one nodule, drawn twice
    assert cases["mask"].isna().tolist() == [0, 1, 1, 1, 0, 0, 0, 1]
    mended, left_out = account(done.mended), account(done.left_out)
    assert mended["the outlines are cut off or malformed; kept without"] == ("1_2",)
    nothing = "no nodule is outlined, which does not mean that there is none"
    assert mended[nothing] == ("2_3", "3_1", "6_2")  # 6_2: around 64 pixels
    assert mended[UNITED] == ("5_1",)
    assert mended["an outline is cut at the edge of the picture"] == ("4_1",)
    assert mended["an arrow is ignored"] == ("1_1", "6_1")
    assert left_out == {
        "the XML of the case cannot be read": ("8", "9"),  # half a file; a bomb
        "nothing in the source says what it shows": ("8_1.jpg",),
        "the picture is not there or cannot be drawn": ("7_1",),
    }


def test_a_drawn_mask_is_binary_and_of_the_pictures_size(imported, tmp_path):
    _, cases = imported("ddti")

    with Image.open(tmp_path / "out" / cases.loc["1_1", "mask"]) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "1", (48, 40))
        assert np.asarray(mask).sum() == 15 * 15 + 13 * 13


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"no picture of DDTI; expected N\.xml"):
        FORMATS["ddti"](tmp_path)


@needs_ddti
def test_the_real_ddti_is_read_whole(tmp_path):
    done = import_pictures(FORMATS["ddti"], REAL, tmp_path / "out")
    cases = read_manifest(tmp_path / "out/manifest.csv").set_index("image_id")
    mended = account(done.mended)
    areas_px = [
        read_mask(tmp_path / "out" / mask).sum() for mask in cases["mask"].dropna()
    ]

    assert done.left_out == ()
    assert len(cases) == 385
    assert cases["patient_id"].nunique() == 308  # 312 cases, two groups share pictures
    assert cases["mask"].notna().sum() == 375
    assert cases["boxes"].map(len).sum() == 515
    assert min(areas_px) >= 100
    assert cases["tirads"].value_counts().to_dict() == {
        "2": 31, "3": 16, "4a": 72, "4b": 66, "4c": 60, "5": 31
    }  # fmt: skip
    cut = mended["the outlines are cut off or malformed; kept without"]
    assert cut == ("54_1", "127_1", "166_1", "176_1", "197_1", "203_1")
    nothing = "no nodule is outlined, which does not mean that there is none"
    assert mended[nothing] == ("62_3", "142_2", "213_2", "389_1")
    assert mended[UNITED] == ("294_1", "348_1", "359_1", "374_1", "381_2")
    assert mended["an outline is cut at the edge of the picture"] == ("338_2",)
    assert len(mended["an arrow is ignored"]) == 6
    assert cases.loc["338_2", "boxes"] == (  # 30 of 51 points lie below
        (105, 323, 214, 360),
        (264, 140, 381, 214),
    )
    same = [cases.loc[name, "patient_id"] for name in ("233_2", "323_1", "349_1")]
    assert same == ["233"] * 3
    assert cases.loc["353_2", "patient_id"] == cases.loc["396_1", "patient_id"]
