"""The reader study: its tables against the statistics that they are made of."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers import CODES, levels, reader_study, rule_based
from thyroid_fl.readers.performance import PAPER_COMPARISONS
from thyroid_fl.readers.ratings import as_ratings
from thyroid_fl.readers.table_6 import COLUMNS, p_text
from thyroid_fl.statistics import adjusted, auc, compare_aucs, kendall_w

NAMES = {code: name for name, code in CODES.items()}
N_PATIENTS = 60
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def ratings():
    """Four readers in two arms on 60 patients with one to three images."""
    rng = np.random.default_rng(1)
    n_images = rng.integers(1, 4, N_PATIENTS)
    patient = np.repeat(np.arange(N_PATIENTS), n_images)
    label = (patient % 5 < 3).astype(int)
    seen = 1.5 * label + rng.normal(size=N_PATIENTS)[patient]
    ai = 1 / (1 + np.exp(-(seen - 0.8 + 0.5 * rng.normal(size=len(label)))))
    parts = []
    for number, reader in enumerate(("Lin", "Wu", "Gao", "Ma")):
        for arm in ("unaided", "freestyle"):
            latent = seen + rng.normal(size=len(label)) + (arm != "unaided") * ai
            codes = np.clip(np.round(latent + 2.5), 1, 5).astype(int)
            parts.append(
                pd.DataFrame(
                    {
                        "reader": reader,
                        "experience": "junior" if number < 2 else "senior",
                        "arm": arm,
                        "patient_id": [f"p{n}" for n in patient],
                        "image_id": [f"i{n}" for n in range(len(label))],
                        "malignant": label,
                        "category": [NAMES[code] for code in codes],
                        "ai_score": ai.round(4),
                    }
                )
            )
    return as_ratings(pd.concat(parts, ignore_index=True))


@pytest.fixture(scope="module")
def study(ratings):
    return reader_study(ratings, threshold=THRESHOLD, positive_from="4b")


def pick(table, **values):
    """Return the one row of a table with these values."""
    for name, value in values.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_table_6_has_the_papers_rows_and_columns(study):
    table = study.table_6

    assert tuple(table.columns) == COLUMNS
    block = ["AI model", "Junior radiologists", "Lin", "Wu"]
    block += ["Senior radiologists", "Gao", "Ma"]
    expected = ["Image-level scoring", *block, "Patient-level scoring", *block]
    assert table[COLUMNS[0]].tolist() == expected
    assert (table.iloc[1, 2:] == "NA").all()
    assert (table.iloc[[0, 2], 1:] == "").all(axis=None)


def test_a_cell_of_table_6_is_the_auc_and_the_p_value_of_its_arms(study, ratings):
    image, patient = levels(ratings, threshold=THRESHOLD)
    gao = patient.readers.index("Gao")
    unaided, free = (patient.arms[arm][gao] for arm in ("unaided", "freestyle"))

    row = study.table_6.iloc[-2]

    found = auc(patient.labels, unaided)
    text = f"{found.value:.2f} ({found.low:.2f}, {found.high:.2f})"
    assert row["Diagnosis without AI Assistance"] == text
    p_value = compare_aucs(patient.labels, free, unaided).p_value
    assert row["P Value 1"] == p_text(p_value)
    cells = pick(study.aucs, unit="image", reader="Gao", arm="unaided")
    by_image = auc(image.labels, image.arms["unaided"][gao], clusters=image.patients)
    naive = auc(image.labels, image.arms["unaided"][gao])
    assert (cells["low"], cells["high"]) == (by_image.low, by_image.high)
    assert (cells["low_naive"], cells["high_naive"]) == (naive.low, naive.high)
    assert cells["n_patients"] == N_PATIENTS


def test_rule_based_assistance_is_made_from_unaided_categories(ratings):
    image, patient = levels(ratings, threshold=THRESHOLD, policy="extend")

    codes = image.arms["unaided"].astype(int)
    moved = rule_based(codes, image.ai >= THRESHOLD, "extend")
    assert image.arms["rule_based"].tolist() == moved.tolist()
    for number, name in enumerate(patient.patients):
        of_patient = moved[:, image.patients == name].max(axis=1)
        assert patient.arms["rule_based"][:, number].tolist() == of_patient.tolist()


def test_holm_is_over_the_papers_comparisons_of_both_levels(study):
    paper = study.comparisons[study.comparisons["family"] == "Table 6"]

    assert len(paper) == 3 * 4 * 2
    assert set(paper["comparison"]) == set(PAPER_COMPARISONS)
    assert paper["p_holm"].tolist() == adjusted(paper["p_value"]).tolist()
    assert len(study.comparisons) == len(paper) + 2 * 4 * 2


def test_sensitivity_and_specificity_count_from_the_category_on(study, ratings):
    _, patient = levels(ratings, threshold=THRESHOLD)
    codes = patient.arms["unaided"][0]

    points = study.operating_points
    found = pick(
        points, unit="patient", reader="Lin", arm="unaided", metric="sensitivity"
    )

    assert found["value"] == np.mean(codes[patient.labels == 1] >= CODES["4b"])
    assert found["n"] == int(patient.labels.sum())
    assert found["low"] < found["value"] < found["high"]


def test_every_case_is_in_one_category(study):
    counted = study.categories.groupby(["unit", "reader", "arm"])

    totals = counted[["n_benign", "n_malignant"]].sum()
    assert totals.loc["patient"].sum(axis=1).unique().tolist() == [N_PATIENTS]
    assert len(totals) == 2 * 4 * 3


def test_agreement_is_kendalls_with_its_floor_and_controls(study, ratings):
    _, patient = levels(ratings, threshold=THRESHOLD)

    rows = study.agreement.query("unit == 'patient' and group == 'all'")
    unaided = pick(rows, arm="unaided")

    assert unaided["w"] == kendall_w(patient.arms["unaided"].T).w
    assert unaided["w_by_chance"] == 0.25
    plain, shuffled, constant = (
        pick(rows, arm="rule_based", control=control)["w"]
        for control in ("", "AI shuffled", "AI held constant")
    )
    # What all readers share makes them agree, whether it means anything or not.
    assert unaided["w"] < shuffled < plain
    assert constant < plain


def test_mean_spearman_is_that_of_pairs_where_there_are_no_ties(ratings):
    rng = np.random.default_rng(2)
    scored = ratings[ratings["arm"] == "unaided"].assign(category=np.nan)
    scored["score"] = rng.normal(size=len(scored)) + scored["malignant"]

    study = reader_study(scored)

    (image, _) = levels(scored, threshold=None)
    pairs = spearmanr(image.arms["unaided"].T).statistic
    mean = pairs[np.triu_indices(4, 1)].mean()
    found = pick(study.agreement, unit="image", group="all")
    assert found["mean_spearman"] == pytest.approx(mean)


def test_readers_are_random_and_fixed_in_rows_of_their_own(study):
    rows = study.averages.query("unit == 'patient' and group == 'all'")

    random, fixed = (
        pick(rows, comparison="rule_based - unaided", readers=readers)
        for readers in ("random", "fixed")
    )

    assert random["difference"] == fixed["difference"]
    assert np.isfinite(random["ddf"])
    assert np.isinf(fixed["ddf"])
    aucs = study.aucs.query("unit == 'patient' and arm == 'unaided'")["auc"]
    assert random["auc_unaided"] == pytest.approx(aucs.mean())


def test_policies_show_what_the_untold_rules_change(study):
    of_lin = study.policies.query("reader == 'Lin' and unit == 'patient'")

    assert len(of_lin) == 6
    chosen = pick(of_lin, policy="clamp", patient_rule="images")
    main = pick(study.aucs, unit="patient", reader="Lin", arm="rule_based")
    assert chosen["auc"] == main["auc"]


def test_ratings_by_patient_have_no_image_level(ratings):
    by_patient = ratings.drop_duplicates(["reader", "arm", "patient_id"])

    study = reader_study(by_patient.assign(image_id=np.nan), threshold=THRESHOLD)

    assert set(study.aucs["unit"]) == {"patient"}
    assert any("no image level" in note for note in study.notes)


def test_without_the_ai_there_are_readers_only(ratings):
    alone = ratings.assign(ai_score=np.nan)

    study = reader_study(alone)

    assert set(study.aucs["arm"]) == {"unaided", "freestyle"}
    assert study.table_6.iloc[1, 1] == "NA"
    assert (study.table_6.iloc[3, [4, 6, 7]] == "NA").all()
    assert any("no rule-based arm" in note for note in study.notes)
    with pytest.raises(ConfigError, match="no column ai_score"):
        reader_study(alone, threshold=0.5)
    with pytest.raises(ConfigError, match="the ratings have no ai_score"):
        reader_study(alone, threshold="paper")


def test_recorded_rule_based_ratings_are_used_as_they_are(ratings):
    recorded = ratings.query("arm == 'unaided'").assign(arm="rule_based")
    both = pd.concat([ratings, recorded], ignore_index=True)

    study = reader_study(both, threshold=THRESHOLD)

    p_values = study.comparisons.query("comparison == 'rule_based - unaided'")
    assert (p_values["p_value"] == 1).all()
    assert any("as recorded" in note for note in study.notes)
    assert study.policies.empty


def test_one_reader_is_judged_but_stands_for_no_other(ratings):
    study = reader_study(ratings.query("reader == 'Lin'"), threshold=THRESHOLD)

    random = study.averages.query("readers == 'random'")
    assert random["p_value"].isna().all()
    assert study.agreement["w"].isna().all()
    assert any("one reader" in note for note in study.notes)


def test_the_threshold_of_the_paper_is_flagged(ratings):
    study = reader_study(ratings, threshold="paper")

    assert study.notes[0].startswith("PAPER MODE")


def test_a_2_needs_the_guidelines_scale(ratings):
    with_two = ratings.assign(category=ratings["category"].replace("3", "2"))

    with pytest.raises(ConfigError, match="use 'guideline'"):
        reader_study(with_two, threshold=THRESHOLD)
    study = reader_study(with_two, threshold=THRESHOLD, policy="guideline")
    assert set(study.policies["policy"]) == {"guideline"}


def test_order_of_rows_does_not_matter(ratings, study):
    shuffled = ratings.sample(frac=1, random_state=1)

    again = reader_study(shuffled, threshold=THRESHOLD, positive_from="4b")

    keys = ["unit", "reader", "comparison"]
    one, other = (
        table.comparisons.set_index(keys).sort_index()["p_value"]
        for table in (study, again)
    )
    assert other.to_numpy() == pytest.approx(one.to_numpy())


@pytest.mark.parametrize("threshold", [-1.0, 2.0])
def test_an_ai_that_says_the_same_of_all_moves_all(ratings, threshold):
    study = reader_study(ratings, threshold=threshold, policy="extend")

    moved = study.comparisons.query("comparison == 'rule_based - unaided'")
    assert (moved["difference"] == 0).all()
    rows = study.agreement.query("group == 'all' and arm != 'freestyle'")
    for _, of_unit in rows.groupby("unit"):
        assert of_unit["w"].round(9).nunique() == 1


def test_patients_of_one_class_give_no_auc(ratings):
    study = reader_study(ratings.query("malignant == 1"), threshold=THRESHOLD)

    assert study.aucs["auc"].isna().all()
    assert study.comparisons["p_holm"].isna().all()
    assert study.table_6.iloc[3, 2] == "NA"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive_from": "4d"}, "positive_from is '4d'"),
        ({"threshold": "best"}, "threshold is 'best'"),
        ({"threshold": 0.5, "policy": "stretch"}, "policy is 'stretch'"),
        ({"threshold": 0.5, "patient_rule": "nodule"}, "patient rule is 'nodule'"),
    ],
)
def test_unknown_options_are_refused(ratings, options, message):
    with pytest.raises(ConfigError, match=message):
        reader_study(ratings, **options)
