import numpy as np
import pytest
from scipy import ndimage

from thyroid_fl.errors import ConfigError
from thyroid_fl.simulation.phantom import Phantom, draw
from thyroid_fl.simulation.phantom.nodule_features import NoduleFeatures
from thyroid_fl.simulation.phantom.scanner import field_of_view
from thyroid_fl.simulation.phantom.vendor_looks import VENDOR_LOOKS

PLAIN = {
    "solid": True, "vertical": False, "marked_hypo": False,
    "microcalcifications": False, "irregular": False, "comet_tail": False,
}  # fmt: skip
VIEWS = ("transverse", "longitudinal")


def picture(
    seed=1, image=0, *, vendor="Mindray", size_px=64, view="transverse", **findings
) -> Phantom:
    return draw(
        NoduleFeatures(**(PLAIN | findings)),
        vendor,
        size_px=size_px,
        patient_seed=seed,
        image_index=image,
        view=view,
    )


def ring(mask: np.ndarray) -> np.ndarray:
    """Return the tissue 2 to 5 px around the nodule."""
    near = ndimage.binary_dilation(mask, iterations=2)
    return ndimage.binary_dilation(mask, iterations=5) & ~near


def contrast(phantom: Phantom) -> float:
    inside = ndimage.binary_erosion(phantom.mask, iterations=2)
    return phantom.image[inside].mean() - phantom.image[ring(phantom.mask)].mean()


def inside(quantile: float, **findings) -> float:
    """Return the median over nodules of a quantile of their grey levels."""
    nodules = (picture(seed, **findings) for seed in range(20))
    return float(
        np.median([np.quantile(one.image[one.mask], quantile) for one in nodules])
    )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size_px", [64, 96, 160])
@pytest.mark.parametrize("vendor", VENDOR_LOOKS)
def test_every_vendor_draws_a_picture_whose_box_bounds_its_mask(vendor, size_px, view):
    phantom = picture(vendor=vendor, size_px=size_px, view=view, irregular=True)

    rows, columns = np.nonzero(phantom.mask)
    x0, y0, x1, y1 = phantom.box
    assert phantom.image.shape == phantom.mask.shape == (size_px, size_px)
    assert phantom.image.dtype == np.uint8
    assert phantom.mask.dtype == np.bool_
    assert (x0, y0) == (columns.min(), rows.min())
    assert (x1, y1) == (columns.max() + 1, rows.max() + 1)
    assert 0.03 < phantom.mask.mean() < 0.5
    assert phantom.image.std() > 10
    assert ndimage.label(phantom.mask)[1] == 1


def test_the_same_picture_comes_back_in_any_order():
    cases = [(seed, image) for seed in (3, 4) for image in (0, 1)]
    first = {case: picture(*case).image for case in cases}

    for case in reversed(cases):
        np.testing.assert_array_equal(picture(*case).image, first[case])

    assert len({image.tobytes() for image in first.values()}) == len(cases)


@pytest.mark.parametrize("vendor", VENDOR_LOOKS)
def test_the_vendor_changes_the_picture_but_not_the_section(vendor):
    reference, other = picture(5), picture(5, vendor=vendor)

    visible = field_of_view(VENDOR_LOOKS[vendor].geometry, 64)
    np.testing.assert_array_equal(other.mask, reference.mask & visible)
    assert (vendor == "Mindray") == np.array_equal(other.image, reference.image)


def test_outside_the_field_of_view_there_is_only_the_overlay():
    case = {"vendor": "Hitachi", "size_px": 96}
    first, second = picture(1, **case), picture(2, solid=False, **case)

    beyond = ~field_of_view("sector", 96)

    assert beyond.mean() > 0.05
    np.testing.assert_array_equal(first.image[beyond], second.image[beyond])


def test_pictures_of_a_patient_show_one_nodule_in_different_sections():
    areas = np.array([
        [picture(seed, image, view=VIEWS[image % 2]).mask.sum() for image in range(4)]
        for seed in range(25)
    ])  # fmt: skip

    spread_within = (areas.std(axis=1) / areas.mean(axis=1)).mean()
    spread_between = areas.mean(axis=1).std() / areas.mean()
    assert 0.005 < spread_within < spread_between


def test_the_same_section_at_another_size_has_the_same_outline():
    small, large = picture(8, size_px=64).box, picture(8, size_px=192).box

    np.testing.assert_allclose(np.array(small) * 3, large, atol=4)


@pytest.mark.parametrize("view", VIEWS)
def test_vertical_nodules_are_taller_than_wide(view):
    def taller(vertical: bool) -> float:
        boxes = [picture(seed, view=view, vertical=vertical).box for seed in range(40)]
        return float(np.mean([y1 - y0 > x1 - x0 for x0, y0, x1, y1 in boxes]))

    assert taller(True) > 0.9
    assert taller(False) < 0.1


@pytest.mark.parametrize("vendor", VENDOR_LOOKS)
def test_marked_hypoechoic_nodules_are_darker_than_the_tissue_around(vendor):
    def mean_contrast(marked_hypo: bool) -> float:
        return float(np.mean([
            contrast(picture(seed, vendor=vendor, marked_hypo=marked_hypo))
            for seed in range(8)
        ]))  # fmt: skip

    assert mean_contrast(True) < min(-15.0, mean_contrast(False) - 10)


def test_fluid_is_darker_than_the_darkest_solid_nodule():
    fluid, solid = inside(0.25, solid=False), inside(0.25, marked_hypo=True)

    assert fluid < solid - 20


def test_microcalcifications_are_bright_points_that_survive_64_px():
    assert inside(0.98, microcalcifications=True) > inside(0.98) + 25


def test_irregular_outlines_are_longer_for_their_area_or_blurred():
    def roughness(irregular: bool) -> float:
        masks = [
            picture(seed, size_px=160, irregular=irregular).mask for seed in range(30)
        ]
        return float(np.mean([
            (mask & ~ndimage.binary_erosion(mask)).sum() / np.sqrt(mask.sum())
            for mask in masks
        ]))  # fmt: skip

    assert roughness(True) > 1.08 * roughness(False)


def test_clear_mistakes_are_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"no look for vendor 'Acme'.*Mindray"):
        picture(vendor="Acme")
    with pytest.raises(ConfigError, match="8 px shows nothing; use at least 32"):
        picture(size_px=8)
