"""Burnt-in text is guessed from the shape of letters."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from thyroid_fl.lettering import has_lettering

TEXTS = ("ZHANG WEI", "12.03.1961", "TIRADS 4A", "MAMA DIREITA")
FONT_PX = (10, 14, 20)


def tissue(seed: int, *, level: float = 35.0, size=(480, 640)) -> Image.Image:
    """Draw speckle (Rayleigh), smoothed as by a transducer, with a black frame."""
    rng = np.random.default_rng(seed)
    noise = rng.rayleigh(level, (size[0] // 2, size[1] // 4)).clip(0, 255)
    picture = Image.fromarray(noise.astype(np.uint8)).resize(size[::-1])
    framed = Image.new("L", picture.size)
    box = (40, 30, size[1] - 40, size[0] - 60)
    framed.paste(picture.crop(box), box)
    return framed


def written(picture: Image.Image, text: str, at, px: int, ink: int = 255):
    font = ImageFont.load_default(px)
    ImageDraw.Draw(picture).text(at, text, ink, font)
    return picture


@pytest.mark.parametrize("px", FONT_PX)
@pytest.mark.parametrize("text", TEXTS)
def test_text_in_the_margin_is_found(text, px):
    picture = written(tissue(1), text, (60, 430), px)

    assert has_lettering(picture)


@pytest.mark.parametrize("ink", [150, 200, 255])
def test_text_on_tissue_is_found(ink):
    picture = written(tissue(2, level=20), "LEFT LOBE", (200, 200), 18, ink)

    assert has_lettering(picture)


@pytest.mark.parametrize("level", [10, 35, 70, 120, 200])
def test_speckle_is_no_text(level):
    assert not any(has_lettering(tissue(seed, level=level)) for seed in range(20))


def test_noise_is_no_text():
    rng = np.random.default_rng(1)
    for _ in range(20):
        noise = (rng.random((300, 400)) < rng.random()) * np.uint8(255)

        assert not has_lettering(Image.fromarray(noise))


def test_rulers_wedges_and_calipers_are_no_text():
    picture = tissue(3)
    pen = ImageDraw.Draw(picture)
    for k in range(40):
        pen.line((50 + 8 * k, 450, 50 + 8 * k, 458), 255)  # a ruler below
        pen.line((620, 40 + 10 * k, 628, 40 + 10 * k), 255)  # and at the side
    for k in range(200):
        pen.line((8, 100 + k, 20, 100 + k), k)  # a grey wedge
    for x, y in ((200, 150), (330, 150), (260, 90), (260, 220)):
        pen.line((x - 5, y, x + 5, y), 255)
        pen.line((x, y - 5, x, y + 5), 255)

    assert not has_lettering(picture)


def test_a_mark_of_two_letters_is_no_text():
    assert not has_lettering(written(tissue(4), "GE", (590, 5), 16))


def test_pictures_of_any_size_and_level_are_survived():
    for size in ((1, 1), (2, 3000), (3000, 2), (5, 5)):
        for level in (0, 255):
            assert not has_lettering(Image.new("L", size, level))


def test_a_large_picture_is_searched_at_a_smaller_size():
    large = written(tissue(5, size=(2160, 3840)), "ZHANG WEI", (300, 2110), 40)

    assert has_lettering(large)
    assert not has_lettering(tissue(5, size=(2160, 3840)))
