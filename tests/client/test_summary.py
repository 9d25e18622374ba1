"""What a hospital tells of its data, and what it never tells."""

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_to_proto
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thyroid_fl.client.app import app
from thyroid_fl.client.summary import grey_levels, tell, vendor_of
from thyroid_fl.client.withholding import withheld
from thyroid_fl.columns import as_cases
from thyroid_fl.manifest import write_manifest
from thyroid_fl.pixels import letterbox
from thyroid_fl.requests import Request
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.cohort.hospitals import VENDOR_NAMES
from thyroid_fl.simulation.grid import InProcessGrid
from thyroid_fl.summary import (
    AGE_STRATA,
    N_AGE_CELLS,
    OTHER,
    TABLES,
    VENDORS,
    WITHHELD,
    ages_key,
    counts_keys,
)

HOSPITALS = {"Klinik Musterfrau [Ost]": 40, "St. Geheim": 12, "Praxis Klein": 3}
"""Name -> patients."""
VENDOR_TEXTS = ["GE Healthcare", "PHILIPS", "/srv/dicom/Musterfrau", None]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three hospitals whose names, ids and paths would be recognised in a message."""
    folder = tmp_path_factory.mktemp("geheim")
    (folder / "bilder").mkdir()
    rng = np.random.default_rng(3)
    rows = []
    for hospital, n_patients in HOSPITALS.items():
        for number in range(n_patients):
            patient = f"MRN-{len(rows)}-{number}"
            facts = {
                "patient_id": patient,
                "hospital": hospital,
                "malignant": rng.choice([0, 1, None], p=[0.4, 0.5, 0.1]),
                "vendor": VENDOR_TEXTS[rng.integers(4)],
                "device": "Geraet 7",
                "sex": rng.choice(["F", "M"], p=[0.7, 0.3]),
                "age": float(rng.integers(20, 80)),
                "tirads": rng.choice(["3", "4a", "5"]),
            }
            for k in range(1 + number % 2):
                name = f"bilder/{patient}-{k}.png"
                grey = rng.integers(0, 256, (30, 40 + k), np.uint8)
                Image.fromarray(grey).save(folder / name)
                boxes = ((5, 5, 20, 20),) if number % 3 else ()
                picture = {"image_id": f"Bild-{patient}-{k}", "image": name}
                rows.append(facts | picture | {"boxes": boxes})
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def ask(manifest):
    """Return a function that asks one hospital for its summary."""

    def send(hospital, *, asked=(), run_config=(), study=(), **node_config):
        given = {"data": str(manifest), "split": "patient", "image_px": 64}
        config = {"study": make_study(**given | dict(study), threads=1).to_json()}
        site = {"hospital": hospital} | {
            name.replace("_", "-"): value for name, value in node_config.items()
        }
        grid = InProcessGrid(app, [site], config | dict(run_config))
        (node,) = grid.get_node_ids()
        request = Request(study_id=32 * "0", server_round=0).record()
        content = RecordDict(dict(asked) | {"request": request})
        question = Message(content, node, "query.summary")
        (reply,) = grid.send_and_receive([question])
        return reply

    return send


def told(reply):
    assert not reply.has_error(), reply.error
    return dict(reply.content["summary"])


def cases_of(manifest, hospital):
    table = pd.read_csv(manifest, dtype={"tirads": "str"})
    return table[table["hospital"] == hospital]


def test_with_a_minimum_of_one_every_count_is_the_exact_one(ask, manifest):
    hospital = "Klinik Musterfrau [Ost]"
    cases = cases_of(manifest, hospital)
    patients = cases.drop_duplicates("patient_id")

    summary = told(ask(hospital, min_cell=1))

    assert summary["n-patients"] == 40
    assert summary["n-images"] == len(cases) == 60
    vendor = {"GE Healthcare": "GE Healthcare", "PHILIPS": "Philips"}
    for rows, unit in ((patients, "patients"), (cases, "images")):
        of_class = rows["malignant"].value_counts()
        unknown = rows["malignant"].isna().sum()
        assert summary[f"class-{unit}"] == [of_class[0], of_class[1], unknown]
        assert summary[f"sex-{unit}"] == [*rows["sex"].value_counts()[["F", "M"]], 0]
        names = rows["vendor"].fillna("unknown")
        names = names.where(names == "unknown", names.map(vendor).fillna("other"))
        expected = names.value_counts().reindex(TABLES["vendor"], fill_value=0)
        assert summary[f"vendor-{unit}"] == expected.tolist()
        tirads = rows["tirads"].value_counts().reindex(TABLES["tirads"], fill_value=0)
        assert summary[f"tirads-{unit}"] == tirads.tolist()
        assert summary[f"size-{unit}"] == [len(rows), 0, 0, 0, 0]
    has_box = patients["boxes"].notna().sum()
    assert summary["boxes-patients"] == [has_box, 0, 40 - has_box]
    assert summary["boxes-images"] == [cases["boxes"].notna().sum(), 0, 0]
    assert summary["masks-patients"] == [0, 0, 40]
    for sex in ("F", "M"):
        ages = patients.loc[patients["sex"] == sex, "age"]
        counted, _ = np.histogram(ages, np.arange(0, 121, 5))
        assert summary[f"ages-{sex}"] == [*counted, 0]
    assert set(summary["ages-all"]) == {WITHHELD}


def test_a_hospital_below_its_minimum_tells_that_and_nothing_else(ask):
    assert told(ask("Praxis Klein")) == {"min-cell": 5, "n-patients": WITHHELD}
    assert told(ask("St. Geheim", min_cell=13)) == {
        "min-cell": 13,
        "n-patients": WITHHELD,
    }


def test_the_minimum_is_five_where_the_hospital_says_nothing(ask):
    assert told(ask("St. Geheim"))["min-cell"] == 5


def test_the_centre_cannot_lower_a_hospitals_minimum(ask):
    wish = {"min-cell": 1}

    summary = told(
        ask(
            "Klinik Musterfrau [Ost]",
            asked={"config": ConfigRecord(wish), "summary": ConfigRecord(wish)},
            run_config=wish,
            min_cell=10,
        )
    )

    assert summary == told(ask("Klinik Musterfrau [Ost]", min_cell=10))
    assert summary["min-cell"] == 10
    lists = [v for k, v in summary.items() if isinstance(v, list) and k != "grey"]
    counts = {count for values in lists for count in values}
    assert min(counts - {0, WITHHELD}) >= 10


@pytest.mark.parametrize(
    "study",
    [
        {"region": "nodule", "margin": 0.0},
        {"task": "detection"},
        {"task": "segmentation"},
        {"split_seed": 7},
    ],
)
def test_the_study_does_not_change_what_is_told(ask, study):
    """Two questions would else differ by the few patients without a box."""
    hospital = "Klinik Musterfrau [Ost]"

    assert told(ask(hospital, study=study)) == told(ask(hospital))


@pytest.mark.parametrize("least", [0, -1, 2.5, "5", True])
def test_a_minimum_that_is_no_whole_number_from_one_is_refused(ask, least):
    reply = ask("St. Geheim", min_cell=least)

    assert "ConfigError in the hospital" in reply.error.reason


def test_a_message_holds_no_name_path_or_id(ask, manifest):
    table = pd.read_csv(manifest, dtype="str")
    columns = ["image_id", "patient_id", "hospital", "image", "device", "vendor"]
    secrets = {text for name in columns for text in table[name].dropna()}
    secrets |= {"Musterfrau", "geheim", "MRN", "Bild", str(manifest), manifest.name}

    for hospital in HOSPITALS:
        for least in (1, 5):
            reply = ask(hospital, min_cell=least)
            sent = message_to_proto(reply).SerializeToString()

            assert [s for s in secrets if s.encode() in sent] == []
            numbers = [v for v in told(reply).values() if not isinstance(v, list)]
            numbers += [
                x for v in told(reply).values() if isinstance(v, list) for x in v
            ]
            assert {type(number) for number in numbers} <= {int, float}


def test_grey_levels_leave_the_letterbox_out_and_weigh_pictures_alike():
    white = Image.new("L", (40, 20), 255)
    dark = Image.new("L", (10, 40), 9)  # the second class: 8 to 15
    rows, squares = [], []
    for picture in (white, white, white, dark):
        square, scale, left, top = letterbox(picture, 32)
        squares.append(square)
        crop = (0, 0, *picture.size)
        rows.append({"crop": crop, "scale": scale, "left": left, "top": top})

    shares = grey_levels(np.array(squares), pd.DataFrame(rows))

    assert shares == [0, 0.25, *[0] * 29, 0.75]


def test_grey_levels_of_the_store_are_those_of_the_pictures(ask, manifest):
    folder, cases = manifest.parent, cases_of(manifest, "St. Geheim")
    pictures = [np.asarray(Image.open(folder / name)) for name in cases["image"]]
    mean = np.mean([picture.mean() for picture in pictures])

    shares = np.array(told(ask("St. Geheim"))["grey"])

    assert shares.sum() == pytest.approx(1, abs=0.016)
    assert shares @ (np.arange(32) * 8 + 3.5) == pytest.approx(mean, abs=3)


def test_the_papers_vendors_are_known_by_name_and_others_are_not_told():
    assert [vendor_of(name) for name in VENDOR_NAMES] == list(VENDOR_NAMES)
    assert [vendor_of(name) for name in VENDORS] == list(VENDORS)
    for text, vendor in {
        "GE": "GE Healthcare",
        "SIEMENS": "Siemens Healthineers",
        "TOSHIBA_MEC_US": "Toshiba",
        "SAMSUNG MEDISON CO., LTD.": "Samsung",
        "Hitachi Aloka Medical,Ltd.": "Hitachi",
        "Philips Medical Systems": "Philips",
        "Dr. Maria Musterfrau": OTHER,
        "": OTHER,
    }.items():
        assert vendor_of(text) == vendor


def test_a_patient_whose_pictures_differ_stands_in_one_cell():
    rows = pd.DataFrame(
        {
            "image_id": ["a", "b", "c"],
            "patient_id": "p",
            "hospital": "H",
            "image": "x.png",
            "malignant": [None, 0, 1],
            "vendor": [None, "GE", "Philips"],
            "tirads": ["3", "5", "4a"],
            "sex": [None, "M", "M"],
            "age": [None, 61, 63],
            "mask": ["m.png", None, None],
        }
    )
    crops = [(0, 0, 100, 50), (0, 0, 50, 600), (0, 0, 10, 10)]
    cases = as_cases(rows).assign(crop=crops)

    summary = tell(cases, [1.0], 1)

    at = {
        "class": "malignant", "vendor": "GE Healthcare", "tirads": "5", "sex": "M",
        "size": "512 to 767 px", "masks": "some pictures", "boxes": "no picture",
    }  # fmt: skip
    for table, cell in at.items():
        of_patients, of_images = counts_keys(table)
        assert summary[of_patients][TABLES[table].index(cell)] == 1
        n_images = {"masks": 1, "boxes": 0}.get(table, 3)
        assert sum(summary[of_images]) == n_images
    assert summary["ages-M"][61 // 5] == 1


patients = st.fixed_dictionaries(
    {
        "malignant": st.sampled_from([0.0, 1.0, None]),
        "sex": st.sampled_from(["F", "F", "M", None]),
        "age": st.sampled_from([18.0, 44.0, 45.0, 61.0, 120.0, None]),
        "vendor": st.sampled_from(["GE", "Philips", "Mindray", "Nobody", None]),
        "tirads": st.sampled_from(["2", "4a", "5", None]),
        "mask": st.sampled_from(["m.png", None]),
        "side": st.sampled_from([100, 300, 2000]),
        "n": st.integers(1, 3),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(patients, min_size=1, max_size=8).flatmap(
        lambda kinds: st.lists(st.sampled_from(kinds), min_size=1, max_size=60)
    ),
    st.integers(1, 8),
)
def test_no_withheld_cell_of_any_hospital_can_be_computed(people, least):
    rows = [
        {"image_id": f"{i}-{k}", "patient_id": f"p{i}", "hospital": "H", "image": "x"}
        | {name: person[name] for name in person if name != "n"}
        for i, person in enumerate(people)
        for k in range(person["n"])
    ]
    cases = as_cases(pd.DataFrame(rows).drop(columns="side"))
    cases["crop"] = [(0, 0, row["side"], 10) for row in rows]

    summary = tell(cases, [1.0], least)

    if len(people) < least:
        assert summary == {"min-cell": least, "n-patients": WITHHELD}
        return
    exact = tell(cases, [1.0], 1)
    for table in TABLES:
        of_patients, of_images = counts_keys(table)
        counts, true = np.array(summary[of_patients]), np.array(exact[of_patients])
        images = np.array(summary[of_images])
        hidden = counts == WITHHELD
        assert (counts[~hidden] == true[~hidden]).all()
        assert (images[~hidden] == np.array(exact[of_images])[~hidden]).all()
        assert ((images == WITHHELD) == hidden).all()
        assert all(count == 0 or count >= least for count in counts[~hidden])
        assert hidden.sum() != 1
        if hidden.any():
            rest = len(people) - counts[~hidden].sum()
            assert rest == true[hidden].sum() >= least
            others = other_tables(true, hidden, least)
            assert all((others[:, c] != true[c]).any() for c in np.flatnonzero(hidden))
    lists = [summary[ages_key(stratum)] for stratum in AGE_STRATA]
    groups = [count for counts in lists for count in counts if count != WITHHELD]
    assert sum(groups) == len(people)
    assert all(count == 0 or count >= least for count in groups)
    assert all(len(counts) == N_AGE_CELLS for counts in lists)
    by_sex = [set(counts) != {WITHHELD} for counts in lists]
    assert by_sex in ([True, False, False, False], [False, True, True, True])
    if by_sex[1]:
        assert WITHHELD not in summary["sex-patients"]


def other_tables(true, hidden, least):
    """Return other counts in the withheld cells that give the same message."""
    cells = np.flatnonzero(hidden)
    found = [true]
    for first in cells:
        for second in cells:
            for moved in (1, true[second] - true[first]):  # one patient, or swapped
                other = true.copy()
                other[first] += moved
                other[second] -= moved
                if (other >= 0).all() and (withheld(other, least) == hidden).all():
                    found.append(other)
    return np.array(found)
