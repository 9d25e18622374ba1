"""The heat maps of a comparison: numbers always, pictures where they are asked for."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import thyroid_fl
from thyroid_fl.client.site import open_archive
from thyroid_fl.errors import ConfigError
from thyroid_fl.manifest import read_manifest, write_manifest
from thyroid_fl.settings import make_study
from thyroid_fl.simulation import heat_maps
from thyroid_fl.simulation.heat_maps import at_the_median

SETTINGS = {
    "split": "hospital", "image_px": 64, "rounds": 1, "local_epochs": 1, "threads": 1,
    "jobs": 1, "singles": 1, "tuned": 1, "seeds": 2, "progress": False,
    "strategies": ("fedbn", "fedavg"), "norm": "batch",
}  # fmt: skip


@pytest.fixture(scope="module")
def masked_manifest(small_manifest, tmp_path_factory):
    """The small federation, a mask for every second picture."""
    folder = tmp_path_factory.mktemp("masked")
    (folder / "images").symlink_to(small_manifest.parent / "images")
    nodule = np.zeros((40, 50), np.uint8)
    nodule[10:30, 15:35] = 255
    Image.fromarray(nodule).save(folder / "nodule.png")
    cases = read_manifest(small_manifest)
    cases["mask"] = cases["image_id"].str.endswith("-0").map({True: "nodule.png"})
    write_manifest(cases, folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def finished(masked_manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "heat"
    return thyroid_fl.compare(data=masked_manifest, out=out, **SETTINGS)


def again(finished, masked_manifest, n):
    thyroid_fl.compare(
        data=masked_manifest, out=finished.folder, heat_maps=n, **SETTINGS
    )
    return finished.folder


def test_every_model_has_its_share_by_test_set_and_class(finished):
    table = pd.read_csv(finished.folder / "heat_maps.csv", keep_default_na=False)

    models = table[["arm", "strategy", "budget"]].drop_duplicates().to_numpy().tolist()
    assert models == [
        ["federated", "fedbn", ""],
        ["federated", "fedavg", ""],
        ["pooled", "", ""],
        ["single", "", "tuned"],
    ]
    assert set(table["pathology"]) == {"all", "malignant", "benign"}
    assert set(table["seed"]) == {"1", "2", "mean"}
    assert set(table["n_cells"]) == {2}
    pooled = table.query("arm == 'pooled' and pathology == 'all' and seed == '1'")
    assert pooled["test_set"].tolist() == ["external", "internal"]
    assert (pooled["n"] + pooled["n_without_heat"]).iloc[0] == 24
    # The picture is 50 x 40, in a square of 50 x 50; the mask 20 x 20.
    assert pooled["area"].astype(float).to_numpy() == pytest.approx(0.16, abs=0.01)
    # What a hospital outside training has no layers for is not looked at.
    assert set(table.query("strategy == 'fedbn'")["test_set"]) == {"internal"}


def test_all_models_look_at_the_same_pictures_and_only_at_masked_ones(finished):
    pictures = pd.read_parquet(finished.folder / "heat_maps.parquet")

    seen = pictures[pictures["strategy"] != "fedbn"].groupby(["arm", "seed"])
    ids = seen["image_id"].agg(lambda ids: tuple(sorted(ids)))
    assert ids.nunique() == 1
    assert all(name.endswith("-0") for name in ids.iloc[0])
    assert pictures["in_mask"].dropna().between(0, 1).all()


def test_the_number_of_pictures_is_bounded(masked_manifest, monkeypatch):
    study = make_study(data=str(masked_manifest), split="hospital", device="cpu")
    archive = open_archive(study, study.data)
    monkeypatch.setattr(heat_maps, "MOST_PICTURES", 5)

    drawn = heat_maps._drawn(archive)

    assert archive.table.iloc[drawn]["test_set"].value_counts().to_dict() == {
        "internal": 5,
        "external": 5,
    }
    assert drawn.tolist() == heat_maps._drawn(archive).tolist()


def test_pictures_of_patients_are_shown_only_where_asked_for(
    finished, masked_manifest, read_page
):
    def shown():
        html = (finished.folder / "report.html").read_text()
        return html.count("data:image/png"), read_page(html).text

    n_images, text = shown()
    assert n_images == 0
    assert "pictures of patients" not in text.replace("they are those of patients", "")
    assert not (finished.folder / "heat_maps_shown.npz").exists()

    folder = again(finished, masked_manifest, 3)
    n_images, text = shown()
    assert n_images == 9  # each as it is, and with the heat of two models
    assert "This page shows pictures of patients. Do not pass it on" in text
    figures = folder / "figures" / "classification"
    numbers = pd.read_csv(figures / "heat_map_pictures.csv")
    assert numbers["pathology"].tolist() == ["malignant"] * 4 + ["benign"] * 2

    again(finished, masked_manifest, 0)
    n_images, text = shown()
    assert n_images == 0
    assert "This page shows pictures" not in text
    assert not list(figures.glob("heat_map_pictures.*"))
    assert not (folder / "heat_maps_shown.npz").exists()


def test_no_name_of_a_picture_or_patient_is_in_the_page(finished, masked_manifest):
    folder = again(finished, masked_manifest, 4)

    pictures = pd.read_parquet(folder / "heat_maps.parquet")
    tables = [folder / "heat_maps.csv", *folder.glob("figures/*/heat*.csv")]
    assert len(tables) == 3
    for table in tables:
        cells = set(pd.read_csv(table, dtype=str).to_numpy().ravel())
        assert not cells & {*pictures["image_id"], *pictures["patient_id"]}


def test_without_masks_there_is_no_table(small_manifest, tmp_path):
    settings = SETTINGS | {"singles": 0, "tuned": 0, "seeds": 1}
    settings |= {"strategies": ("fedavg",)}

    done = thyroid_fl.compare(data=small_manifest, out=tmp_path / "out", **settings)

    assert not list(done.folder.glob("heat_maps*"))
    assert "Where the models look" not in (done.folder / "report.html").read_text()


def test_a_negative_number_of_pictures_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="heat_maps is -1"):
        thyroid_fl.compare(out=tmp_path / "out", heat_maps=-1)


def test_the_pictures_shown_are_the_most_ordinary():
    pictures = pd.DataFrame(
        {
            "malignant": [1] * 5 + [0] * 4,
            "in_mask": [0.1, 0.2, 0.3, 0.9, 0.95, 0.5, np.nan, 0.1, 0.6],
        },
        index=list("abcdefghi"),
    )

    assert at_the_median(pictures, 3).index.tolist() == ["c", "b", "f"]
    assert at_the_median(pictures, 2).index.tolist() == ["c", "f"]
    assert at_the_median(pictures, 99).index.tolist() == list("cbadefih")
