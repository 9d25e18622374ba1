"""Every reference value from R that the statistics cover, to the stated tolerance."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thyroid_fl.readers import CODES, rule_based
from thyroid_fl.statistics import (
    Binormal,
    adjusted,
    auc,
    clustered_mean,
    compare_aucs,
    compare_independent_aucs,
    compare_proportions,
    group_auc,
    independent_difference,
    kendall_w,
    paired_t,
    proc_paired_power,
    proc_paired_sample_size,
    proc_power,
    proc_sample_size,
    proportion,
    random_effects_mean,
    signed_rank,
    within_site_auc,
    youden_threshold,
)

ORACLE = Path(__file__).parents[2] / "../shared/oracle"


def cases(name: str, part: str = "") -> list[Any]:
    path = ORACLE / f"{name}.json"
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {path}"))]
    found = json.loads(path.read_text())
    listed = found[part] if part else found
    return [
        pytest.param(case, id=str(case.get("id", i))) for i, case in enumerate(listed)
    ]


def agrees(value: Any, reference: Any) -> bool:
    """To an absolute 1e-9; null is NaN."""
    ours = np.ravel(np.asarray(value, dtype=float))
    theirs = [math.nan if x is None else x for x in np.ravel(reference).tolist()]
    return len(ours) == len(theirs) and all(
        (math.isnan(x) and math.isnan(y)) or math.isclose(x, y, rel_tol=0, abs_tol=1e-9)
        for x, y in zip(ours, theirs, strict=True)
    )


def agrees_p(p_value: float, reference: float | None) -> bool:
    """As `agrees`, and below 1e-12 to a relative 1e-6."""
    if reference is None or not 0 < reference < 1e-12:
        return agrees(p_value, reference)
    return math.isclose(p_value, reference, rel_tol=1e-6)


@pytest.mark.parametrize("case", cases("roc_single"))
def test_auc_and_youden_threshold_are_those_of_proc(case: dict[str, Any]) -> None:
    out, y, s = case["out"], np.array(case["y"]), np.array(case["s"])
    estimate, threshold = auc(y, s), youden_threshold(y, s)
    at_90 = auc(y, s, level=0.9)

    if out.get("error") == "single_class":
        assert math.isnan(estimate.value)
        assert math.isnan(threshold)
        assert estimate.n == len(y)
        return
    assert agrees(estimate.value, out["auc"])
    assert agrees(estimate.variance, out["var_delong"])
    low, value, high = out["ci_delong_95"]
    assert agrees([estimate.low, estimate.high], [low, high])
    assert value is None or agrees(estimate.value, value)
    assert agrees([at_90.low, at_90.high], out["ci_delong_90"][::2])
    m = int(y.sum())
    assert agrees(estimate.value * m * (len(y) - m), out["wilcox_U"])
    best = min(out["best_youden"], key=lambda point: float(point["threshold"]))
    assert threshold == pytest.approx(float(best["threshold"]), abs=1e-9)
    assert int(np.sum((s >= threshold) & (y == 1))) == best["tp"]
    assert int(np.sum((s >= threshold) & (y == 0))) == best["fp"]


@pytest.mark.parametrize("case", cases("delong_paired"))
def test_paired_delong_is_that_of_proc(case: dict[str, Any]) -> None:
    out, y, s1, s2 = case["out"], case["y"], case["s1"], case["s2"]
    first, second, paired = auc(y, s1), auc(y, s2), compare_aucs(y, s1, s2)

    covariance = (first.variance + second.variance - paired.variance) / 2
    one_sided = (paired.p_value / 2, 1 - paired.p_value / 2)
    less, greater = one_sided if paired.statistic < 0 else one_sided[::-1]
    assert agrees([first.value, second.value], [out["auc1"], out["auc2"]])
    assert agrees([first.variance, second.variance], [out["var1"], out["var2"]])
    assert agrees(covariance, out["cov"])
    assert agrees(paired.statistic, out["z"])
    assert agrees_p(paired.p_value, out["p"])
    assert agrees_p(less, out["p_less"])
    assert agrees_p(greater, out["p_greater"])
    assert agrees([paired.low, paired.high], out["diff_ci95"])
    assert agrees(paired.difference, out["auc1"] - out["auc2"])


@pytest.mark.parametrize("case", cases("delong_unpaired"))
def test_unpaired_delong_is_that_of_proc(case: dict[str, Any]) -> None:
    out = case["out"]
    found = compare_independent_aucs(case["y1"], case["s1"], case["y2"], case["s2"])

    assert agrees(auc(case["y1"], case["s1"]).value, out["auc1"])
    assert agrees(auc(case["y2"], case["s2"]).value, out["auc2"])
    assert agrees(found.difference, out["auc1"] - out["auc2"])
    assert agrees(found.statistic, out["D"])
    assert agrees_p(found.p_value, out["p"])
    assert found.df == pytest.approx(out["df"], rel=1e-9)
    groups = [(group_auc(case["y1"], case["s1"]), group_auc(case["y2"], case["s2"]))]
    gap = independent_difference(groups)
    assert agrees([gap.difference, gap.statistic], [found.difference, out["D"]])
    assert agrees_p(gap.p_value, out["p"])
    if out["diff_ci95"] is not None:
        assert agrees([found.low, found.high], out["diff_ci95"])


@pytest.mark.parametrize("case", cases("auc_clustered"))
def test_clustered_auc_is_obuchowskis(case: dict[str, Any]) -> None:
    out, y, s1, s2 = case["out"], case["y"], case["s1"], case["s2"]
    first = auc(y, s1, clusters=case["cluster"])
    second = auc(y, s2, clusters=case["cluster"])
    paired = compare_aucs(y, s1, s2, clusters=case["cluster"])

    covariance = (first.variance + second.variance - paired.variance) / 2
    assert agrees([first.value, second.value], [out["auc1"], out["auc2"]])
    assert agrees([first.variance, second.variance], [out["var1"], out["var2"]])
    assert agrees([first.low, first.high], out["ci1"])
    assert agrees(covariance, out["cov"])
    assert agrees(paired.statistic, out["z"])
    assert agrees_p(paired.p_value, out["p"])
    assert agrees(auc(y, s1).variance, out["var1_naive_delong"])
    if out["patient_max"] is not None:
        table: dict[int, tuple[int, float]] = {}
        for patient, label, score in zip(case["cluster"], y, s1, strict=True):
            table[patient] = max(table.get(patient, (0, -math.inf)), (label, score))
        labels, scores = zip(*table.values(), strict=True)
        by_patient = auc(labels, scores)
        assert agrees(by_patient.value, out["patient_max"]["auc"])
        assert agrees([by_patient.low, by_patient.high], out["patient_max"]["ci"][::2])


@pytest.mark.parametrize("case", cases("auc_within_site"))
def test_within_site_auc_is_pair_weighted(case: dict[str, Any]) -> None:
    found = within_site_auc(case["y"], case["s"], case["site"])

    assert agrees(
        [found.pooled, found.value, found.between],
        [case["out"][key] for key in ("pooled", "within", "between")],
    )


@pytest.mark.parametrize("case", cases("proportion_ci"))
def test_proportion_intervals_are_those_of_r(case: dict[str, Any]) -> None:
    for method, interval in case["out"].items():
        found = proportion(case["x"], case["n"], method=method)
        assert agrees([found.low, found.high], interval), method


@pytest.mark.parametrize("case", cases("table_checks", "prop2"))
def test_two_proportions_compare_as_in_r(case: dict[str, Any]) -> None:
    found = compare_proportions(*case["x"])

    assert agrees(found.statistic**2, case["chi2"])
    assert agrees_p(found.p_value, case["p"])
    assert agrees([found.low, found.high], case["ci"])


@pytest.mark.parametrize("case", cases("kendall_w"))
def test_kendall_w_is_that_of_vegan(case: dict[str, Any]) -> None:
    found, out = kendall_w(case["ratings"]), case["out"]

    assert agrees([found.w, found.chi2], [out["W"], out["chi2"]])
    assert found.df == out["df"]
    assert agrees_p(found.p_value, out["p"])


@pytest.mark.parametrize("case", cases("mean_clustered"))
def test_clustered_mean_is_that_of_geepack(case: dict[str, Any]) -> None:
    found, out = clustered_mean(case["dice"], case["cluster"]), case["out"]

    assert agrees(found.value, out["mean"])
    assert agrees(math.sqrt(found.variance), out["robust_se_I"])
    assert agrees([found.low, found.high], out["ci_robust_t"])
    singly = clustered_mean(case["dice"], np.arange(len(case["dice"])))
    assert agrees([singly.low, singly.high], out["ci_t"])


@pytest.mark.parametrize("case", cases("random_effects"))
def test_random_effects_are_those_of_metafor(case: dict[str, Any]) -> None:
    found, out = random_effects_mean(case["y"], case["v"]), case["out"]

    assert agrees([found.mean, found.tau2], [out["mean"], out["tau2_DL"]])
    assert agrees(found.i2, out["I2"])
    assert agrees(math.sqrt(found.variance), out["se_hksj"])
    assert agrees([found.low, found.high], out["ci_hksj"])
    assert agrees([found.prediction_low, found.prediction_high], out["pred_int"])


@pytest.mark.parametrize("case", cases("power"))
def test_power_and_sample_size_are_those_of_proc(case: dict[str, Any]) -> None:
    args, out = case["args"], case["out"]
    design = {"alpha": args["sig"]}
    design |= {name: args[name] for name in ("power", "kappa") if name in args}
    sizes = [args[name] for name in ("ncases", "ncontrols") if name in args]
    if "paired" in case["id"]:
        curves = [Binormal(a=args[f"A{i}"], b=args[f"B{i}"]) for i in (1, 2)]
        design |= {"correlation_malignant": args["ra"], "difference": args["delta"]}
        design |= {"correlation_benign": args["rn"]}

    if case["id"] == "n_single":
        size = proc_sample_size(args["auc"], **design)
    elif case["id"] == "n_paired_obuchowski":
        size = proc_paired_sample_size(*curves, **design)
    elif case["id"] == "power_single":
        assert agrees(proc_power(args["auc"], *sizes, **design), out["power"])
        return
    else:
        assert agrees(proc_paired_power(*curves, *sizes, **design), out["power"])
        return
    assert agrees([size.n_malignant, size.n_benign], [out["ncases"], out["ncontrols"]])
    assert "pROC-compatible" in size.method


@pytest.mark.parametrize("case", cases("paired_misc", "paired"))
def test_paired_tests_are_those_of_r(case: dict[str, Any]) -> None:
    x, y, out = case["x"], case["y"], case["out"]
    student = paired_t(x, y)
    plain, corrected = signed_rank(x, y, continuity=False), signed_rank(x, y)

    assert agrees(student.statistic, out["t"])
    assert agrees_p(student.p_value, out["p_t"])
    assert agrees([student.low, student.high], out["ci"])
    assert agrees([plain.statistic, corrected.statistic], [out["V"], out["V"]])
    assert agrees_p(plain.p_value, out["p_wilcoxon_nocorr"])
    assert agrees_p(corrected.p_value, out["p_wilcoxon_corr"])


def test_adjusted_p_values_are_those_of_r() -> None:
    path = ORACLE / "paired_misc.json"
    if not path.exists():
        pytest.skip(f"no {path}")
    reference = json.loads(path.read_text())["p_adjust"]

    assert agrees(adjusted(reference["p"], "holm"), reference["holm"])
    assert agrees(adjusted(reference["p"], "benjamini_hochberg"), reference["BH"])
    assert agrees(adjusted(reference["p"], "bonferroni"), reference["bonferroni"])


@pytest.mark.parametrize("case", cases("reader_rule"))
def test_rule_based_assistance_is_that_of_the_reference(case: dict[str, Any]) -> None:
    y, ai, out = case["y"], np.array(case["ai"]), case["out"]
    reader = np.array(case["cat_index"])
    calls = ai >= case["threshold"]
    clamped = rule_based(reader, calls, "clamp")
    extended = rule_based(reader, calls, "extend")

    assert set(reader) <= {CODES[name] for name in ("3", "4a", "4b", "4c", "5")}
    assert clamped.tolist() == out["clamped"]
    assert extended.tolist() == out["extended"]
    for scores, key in (
        (reader, "reader"),
        (ai, "ai_auc"),
        (clamped, "rule_clamped"),
        (extended, "rule_extended"),
    ):
        found = auc(y, scores)
        assert agrees([found.low, found.value, found.high], np.sort(out[key]))
    for scores, key in ((clamped, "clamped"), (extended, "extended"), (ai, "ai")):
        p_value = compare_aucs(y, reader, scores).p_value
        assert agrees_p(p_value, out[f"p_reader_vs_{key}"])
