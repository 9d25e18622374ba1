"""A hospital's rules: what is read, what is refused, and how it is said."""

import dataclasses

import pytest

from thyroid_fl.client.policy import Policy, check_study, read_policy
from thyroid_fl.errors import ConfigError, PolicyError
from thyroid_fl.settings import Study

TEXT = """
tasks = ["classification", "segmentation"]
strategies = ["fedavg", "fedprox"]
most_rounds = 20
most_local_epochs = 2
least_hospitals = 3
least_noise = 0
evaluation = "histogram"
"""
POLICY = Policy(
    tasks=("classification", "segmentation"),
    strategies=("fedavg", "fedprox"),
    most_rounds=20,
    most_local_epochs=2,
    least_hospitals=3,
    least_noise=0.0,
    evaluation="histogram",
)
ALLOWED = Study(rounds=20, local_epochs=2, min_hospitals=3)


def test_a_policy_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(TEXT)

    assert read_policy(path) == POLICY


BAD = {
    "unknown": (
        "most_rounds", "max_rounds",
        "unknown key 'max_rounds'. Did you mean 'most_rounds'? Known keys: tasks, ",
    ),
    "missing": ("least_noise = 0\n", "", "the key least_noise is missing"),
    "text for number": ("= 20", '= "20"', "most_rounds is '20'; expected a value of"),
    "true for number": ("= 20", "= true", "most_rounds is True; expected a value of"),
    "part of a round": ("= 20", "= 2.5", "most_rounds is 2.5; expected a value of"),
    "no round": ("= 20", "= 0", "most_rounds is 0; expected at least 1"),
    "no hospital": ("= 3", "= 0", "least_hospitals is 0; expected at least 1"),
    "less noise than none": ("noise = 0", "noise = -1", "least_noise is -1.0; expe"),
    "noise not a number": ("noise = 0", "noise = nan", "least_noise is nan; expected"),
    "detail": ('"histogram"', '"all"', "evaluation is 'all'; expected one of: scores"),
    "one task as text": (
        '["classification", "segmentation"]', '"classification"',
        "tasks is 'classification'; expected a list",
    ),
    "no such task": ('"segmentation"', '"staging"', "tasks lists 'staging'; expected "),
    "no such strategy": ('"fedprox"', '"fedx"', "strategies lists 'fedx'; expected s"),
    "no TOML": ("tasks = [", "tasks = ", "cannot read the policy: "),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_in_the_policy_is_named_with_the_file(tmp_path, fault):
    old, new, words = BAD[fault]
    assert old in TEXT
    path = tmp_path / "policy.toml"
    path.write_text(TEXT.replace(old, new))

    with pytest.raises(ConfigError) as caught:
        read_policy(path)

    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_an_absent_policy_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"policy\.toml: cannot read the policy"):
        read_policy(tmp_path / "policy.toml")


def test_a_study_at_the_limits_is_allowed():
    check_study(POLICY, ALLOWED)


VIOLATIONS = {
    "task": ("detection", "task is detection; this hospital allows classification, se"),
    "strategy": ("fedadam", "strategy is fedadam; this hospital allows fedavg, fedpr"),
    "rounds": (21, "rounds is 21; this hospital allows at most 20"),
    "local_epochs": (3, "local_epochs is 3; this hospital allows at most 2"),
    "min_hospitals": (2, "min_hospitals is 2; this hospital asks for at least 3"),
}


@pytest.mark.parametrize("setting", VIOLATIONS)
def test_one_step_beyond_a_limit_is_refused(setting):
    value, words = VIOLATIONS[setting]

    with pytest.raises(PolicyError, match=words):
        check_study(POLICY, dataclasses.replace(ALLOWED, **{setting: value}))


def test_every_violation_is_told_at_once():
    asked = {setting: value for setting, (value, _) in VIOLATIONS.items()}

    with pytest.raises(PolicyError) as caught:
        check_study(POLICY, dataclasses.replace(ALLOWED, **asked))

    for _, words in VIOLATIONS.values():
        assert words in str(caught.value)


def test_noise_that_no_study_adds_refuses_every_training():
    with pytest.raises(PolicyError, match=r"noise multiplier of at least 0\.5"):
        check_study(dataclasses.replace(POLICY, least_noise=0.5), ALLOWED)


def test_a_policy_without_tasks_allows_none():
    with pytest.raises(PolicyError, match="this hospital allows none"):
        check_study(dataclasses.replace(POLICY, tasks=()), ALLOWED)
