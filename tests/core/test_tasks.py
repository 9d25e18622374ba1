import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torchvision.models import densenet121

from thyroid_fl.batches import Batch
from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import TASK_NAMES, make_study
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.tasks.classification import concordance
from thyroid_fl.tasks.norm import RELU_GAIN, StandardizedConv2d, with_norm


@pytest.fixture(scope="module")
def paper_model():
    return build_model(make_study(preset="paper"))


def test_paper_is_densenet121_with_the_papers_head(paper_model):
    sizes = [
        layer.out_features
        for layer in paper_model.classifier
        if isinstance(layer, nn.Linear)
    ]

    assert sizes == [256, 2]
    assert paper_model.classifier[0].in_features == 1024
    n_parameters = sum(p.numel() for p in paper_model.parameters())
    assert n_parameters == 7_216_770 - 2 * 64 * 7 * 7  # one grey kernel for three


def test_the_names_that_are_known_without_torch_are_those_of_the_tasks():
    assert tuple(TASKS) == TASK_NAMES


def test_the_seed_decides_the_weights_and_the_global_state_stays():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)

    first, same = (build_model(make_study(seed=3)) for _ in range(2))
    other = build_model(make_study(seed=4))

    assert torch.rand(1) == expected
    assert torch.equal(first.features.conv0.weight, same.features.conv0.weight)
    assert not torch.equal(first.features.conv0.weight, other.features.conv0.weight)


def test_group_norm_replaces_every_batch_norm():
    model = build_model(make_study(norm="group"))

    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    groups = {
        m.num_groups: m.num_channels
        for m in model.modules()
        if isinstance(m, nn.GroupNorm)
    }
    assert all(
        channels % g == 0 and channels >= 2 * g for g, channels in groups.items()
    )
    assert with_norm(nn.Sequential(nn.BatchNorm2d(7)), "group")[0].num_groups == 1


def test_weight_standardisation_keeps_the_variance_through_relu_and_convolution():
    torch.manual_seed(1)
    layer = nn.Conv2d(64, 128, 3, bias=False)
    layer.weight.data.mul_(40).add_(3)
    standardized = StandardizedConv2d(layer)

    outputs = standardized(torch.randn(16, 64, 12, 12).relu())

    assert outputs.var(dim=(0, 2, 3)).mean().item() == pytest.approx(1, rel=0.05)
    weights = standardized.weight.detach()
    variance, mean = torch.var_mean(weights, dim=(1, 2, 3), correction=0, keepdim=True)
    by_hand = (weights - mean) / (variance * 576).sqrt() * RELU_GAIN
    picture = torch.randn(1, 64, 3, 3)
    expected = torch.nn.functional.conv2d(picture, by_hand)
    assert torch.allclose(standardized(picture), expected, atol=1e-4)


def test_without_normalisation_layers_a_picture_does_not_depend_on_its_batch():
    model = build_model(make_study(norm="weight"))
    kinds = {type(m) for m in model.modules()}
    model.classifier.eval()  # dropout would differ

    pictures = torch.rand(4, 1, 64, 64)

    assert not kinds & {nn.BatchNorm2d, nn.GroupNorm, nn.Conv2d}
    assert torch.allclose(model(pictures)[:1], model(pictures[:1]), atol=1e-5)
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_one_picture_and_no_picture_pass_through():
    model = build_model(make_study()).train()

    assert model(torch.rand(1, 1, 64, 64)).shape == (1, 2)
    assert model.eval()(torch.rand(0, 1, 64, 64)).shape == (0, 2)


def test_loss_takes_logits_and_is_the_mean_over_cases():
    task = TASKS["classification"]
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    batch = Batch(images=torch.rand(2, 1, 8, 8), malignant=torch.tensor([1, 1]))

    by_hand = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(1))) / 2
    assert task.loss(logits, batch).item() == pytest.approx(by_hand)
    assert task.predict(logits)[0].item() == pytest.approx(1 / (1 + np.exp(-2)))


def test_concordance_adds_up_to_the_auc():
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 50), rng.normal(size=50).round(1)

    sums = concordance(labels, scores)

    expected = roc_auc_score(labels, scores)
    assert sums["auc-sum"] / sums["auc-n"] == pytest.approx(expected)
    assert concordance(np.ones(3, int), np.zeros(3)) == {
        "auc-sum": 0.0,
        "auc-n": 0.0,
    }


def test_pretrained_rgb_weights_act_on_grey_as_on_three_equal_channels(tmp_path):
    rgb = densenet121(weights=None).eval()
    torch.save(rgb.state_dict(), tmp_path / "densenet121.pth")
    study = make_study(preset="paper", weights=str(tmp_path / "densenet121.pth"))

    grey = build_model(study).eval()

    picture = torch.rand(1, 1, 64, 64)
    expected = rgb.features(picture.repeat(1, 3, 1, 1))
    assert torch.allclose(grey.features(picture), expected, atol=1e-4)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    absent = tmp_path / "absent.safetensors"
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, other)
    text = tmp_path / "text.pth"
    text.write_text("no weights")

    for path, message in [
        (absent, "cannot be read"),
        (text, "cannot be read"),
        (other, "features are absent"),
    ]:
        with pytest.raises(ConfigError, match=message):
            build_model(make_study(weights=str(path)))
