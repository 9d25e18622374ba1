"""The table of ratings: what is read, and each fault with its line and remedy."""

import pandas as pd
import pytest

from thyroid_fl.errors import ManifestError
from thyroid_fl.readers import read_ratings

CASES = {"i1": ("p1", 1, 0.8), "i2": ("p1", 1, 0.6), "i3": ("p2", 0, 0.3)}
FIRST_ROW = 2
CATEGORY = {"i1": "5", "i2": "4a", "i3": "3"}


def table():
    """Two readers, two arms, three images: lines 2 to 13."""
    return pd.DataFrame(
        [
            {
                "reader": reader, "experience": experience, "arm": arm,
                "patient_id": patient, "image_id": image, "malignant": label,
                "category": CATEGORY[image], "ai_score": score,
            }
            for reader, experience in (("Lin", "junior"), ("Wu", "senior"))
            for arm in ("unaided", "freestyle")
            for image, (patient, label, score) in CASES.items()
        ]
    ).astype(object)  # fmt: skip


def read(frame, tmp_path):
    path = tmp_path / "ratings.csv"
    frame.to_csv(path, index=False)
    return read_ratings(path)


def faults(frame, tmp_path):
    with pytest.raises(ManifestError) as raised:
        read(frame, tmp_path)
    return str(raised.value)


def test_good_ratings_are_read_with_every_column(tmp_path):
    found = read(table().drop(columns=["experience", "ai_score"]), tmp_path)

    assert len(found) == 12
    assert found["category"].tolist()[:3] == ["5", "4a", "3"]
    assert found["malignant"].tolist()[:3] == [1, 1, 0]
    assert found[["experience", "ai_score", "score"]].isna().all(axis=None)


def test_parquet_is_read_too(tmp_path):
    path = tmp_path / "ratings.parquet"
    table().astype(str).to_parquet(path)

    assert read_ratings(path).equals(read(table(), tmp_path))


@pytest.mark.parametrize(
    ("line", "column", "cell", "message"),
    [
        (3, "category", "4d", "line 3: category is '4d'; expected one of 2, 3, 4a"),
        (3, "category", None, "line 3: no category, no score; expected one"),
        (4, "arm", "alone", "line 4: arm is 'alone'; expected one of unaided, frees"),
        (5, "malignant", "2", "line 5: malignant is '2'; expected 0 (benign) or 1"),
        (5, "malignant", None, "line 5: malignant is empty; expected 0"),
        (6, "patient_id", " p1", "line 6: patient_id is ' p1'; expected the patient"),
        (7, "ai_score", "inf", "line 7: ai_score is 'inf'; expected a finite number"),
        (2, "reader", None, "line 2: reader is empty; expected the reader's name"),
        (2, "reader", "AI", "line 2: reader is 'AI'; expected the reader's name"),
        (13, "malignant", 1, "line 13: malignant is 1, but patient_id 'p2' has"),
        (
            12,
            "ai_score",
            0.7,
            "line 12: ai_score is 0.7, but image_id 'i2' has",
        ),
        (8, "experience", "junior", "line 9: experience is 'senior', but reader 'Wu'"),
        (3, "patient_id", "p2", "line 6: patient_id is 'p1', but image_id 'i2' has"),
        (
            3,
            "image_id",
            "i1",
            "line 3: reader 'Lin' has rated image_id 'i1' in",
        ),
        (9, "image_id", None, "line 9: image_id is empty in 1 of 12 rows"),
        (9, "ai_score", None, "line 9: ai_score is empty in 1 of 12 rows"),
    ],
)
def test_a_fault_is_named_with_line_and_remedy(tmp_path, line, column, cell, message):
    spoilt = table()
    spoilt.loc[line - FIRST_ROW, column] = cell

    assert message in faults(spoilt, tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="arm"), "the column arm is missing"),
        (lambda t: t.drop(columns="category"), "neither column category nor score"),
        (lambda t: t.rename(columns={"category": "categroy"}), "unknown column 'categ"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.iloc[:-1], "reader 'Wu' has rated 2 of 3 in arm freestyle"),
        (lambda t: t[t["arm"] != "unaided"], "no row of arm unaided"),
        (lambda t: t.assign(score=1.5), "both category and score"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused(tmp_path, spoil, message):
    assert message in faults(spoil(table()), tmp_path)


def test_scores_and_categories_are_not_mixed_within_an_arm(tmp_path):
    spoilt = table().assign(score=None)
    spoilt.loc[1, ["category", "score"]] = [None, 2.5]

    found = faults(spoilt, tmp_path)

    assert "line 3: reader 'Lin' has categories and scores in arm unaided" in found


def test_all_faults_are_listed(tmp_path):
    spoilt = table()
    spoilt.loc[0, "category"] = "6"
    spoilt.loc[5, "arm"] = "both"

    found = faults(spoilt, tmp_path)

    assert "2 faults" in found
    assert "line 2:" in found
    assert "line 7:" in found
