"""The hospital's page is one safe file that says what it is."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from thyroid_fl.client.checking import check_manifest
from thyroid_fl.client.examples import BOX_COLOUR, MASK_COLOUR, choose, examples
from thyroid_fl.client.page import MOST_SHOWN, write_page
from thyroid_fl.columns import as_cases

HOSTILE = "<script>alert(1)</script> & S\u00f6hne"


@pytest.fixture
def folder(tmp_path):
    """Write 40 pictures of two hospitals, with masks, boxes and ages."""
    rng = np.random.default_rng(1)
    rows = []
    for k in range(40):
        noise = Image.fromarray(rng.integers(0, 200, (6, 8), np.uint8))
        noise.resize((160, 120)).save(tmp_path / f"{k}.png")
        mask = Image.new("L", (160, 120))
        ImageDraw.Draw(mask).ellipse((40, 30, 99, 79), 255)
        mask.save(tmp_path / f"{k}-mask.png")
        rows.append(
            {"image_id": f"i{k}", "patient_id": f"p{k}", "hospital": f"H{k % 2}",
             "image": f"{k}.png", "mask": f"{k}-mask.png", "malignant": k // 2 % 2,
             "boxes": "[[40, 30, 100, 80]]", "age": 30 + k, "vendor": HOSTILE}
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path


def edit(folder, line, **cells):
    table = pd.read_csv(folder / "manifest.csv", dtype="str")
    for name, cell in cells.items():
        table.loc[line - 2, name] = cell
    table.to_csv(folder / "manifest.csv", index=False)


def written(folder) -> str:
    checked = check_manifest(folder / "manifest.csv", lambda done, total: None)
    write_page(checked, folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def test_nothing_is_asked_from_outside_the_file(folder, read_page):
    page = read_page(html := written(folder))

    assert all(link[0] == "#" or link == "data:," for link in page.values("href"))
    assert all(s.startswith("data:image/jpeg;base64,") for s in page.values("src"))
    assert page.tags["img"] == 24
    for tag in ("script", "iframe", "object", "embed", "base", "form"):
        assert page.tags[tag] == 0
    assert "@import" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_it_says_that_it_must_not_leave_the_hospital(folder, read_page):
    page = read_page(written(folder))

    assert (
        "This page shows patients' pictures. It must not leave the hospital."
        in page.text
    )


def test_only_the_user_may_read_it_and_nothing_is_left_beside(folder):
    (folder / "page.html").write_text("an older page")
    before = {path.name for path in folder.iterdir()}

    written(folder)

    assert (folder / "page.html").stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir()} == before


def test_a_failed_write_leaves_the_old_page(folder, monkeypatch):
    (folder / "page.html").write_text("an older page")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        written(folder)

    assert (folder / "page.html").read_text() == "an older page"


def test_hostile_names_stay_text(folder, read_page):
    edit(folder, 3, image_id='"><img src=x onerror=alert(1)>', age="<b>")

    page = read_page(html := written(folder))

    assert "<script>" not in html
    assert "onerror" not in [name for name, _ in page.attributes]
    assert HOSTILE in page.text
    assert "age is '<b>'" in page.text


def test_every_fault_and_warning_is_on_it_the_many_folded_away(folder, read_page):
    for line in range(2, 2 + MOST_SHOWN + 3):
        edit(folder, line, age="999")

    page = read_page(written(folder))

    assert "23 faults, no warnings" in page.text
    assert "3 further faults" in page.text
    assert page.tags["details"] == 1
    for line in range(2, 2 + MOST_SHOWN + 3):
        assert f"manifest.csv line {line}: age is '999'" in page.text


def test_pictures_that_are_named_are_shown_and_unreadable_ones_are_not(
    folder, read_page
):
    edit(folder, 4, boxes="[[90, 70, 140, 110]]")
    (folder / "3.png").write_text("no picture")

    page = read_page(written(folder))

    assert "Some of the pictures that are named" in page.text
    named = page.text.split("Patients A", 1)[0].split("that are named", 1)[1]
    assert "line 4" in named
    assert "line 5" not in named


def test_bars_are_as_long_as_their_numbers(folder):
    html = written(folder)

    row = re.search(r'row">H0</th>.*?</tr>', html, re.DOTALL)
    assert row
    assert re.findall(r'class="(\w+)" style="width:([\d.]+)%', row[0]) == [
        ("benign", "50.00"), ("malignant", "50.00")
    ]  # fmt: skip
    assert re.findall(r"<td>([^<]*)</td>", row[0]) == ["20", "50\u00a0%"]


def test_each_hospital_and_class_has_its_examples():
    table = pd.DataFrame(
        {"patient_id": [*"aabcdefgh"], "hospital": [*"XXXXXXXYZ"],
         "malignant": [0, 0, 0, 0, 0, 1, None, 0, 1]}
    )  # fmt: skip
    cases = as_cases(table)

    chosen = choose(cases, 5)

    assert (
        cases.loc[chosen, ["hospital", "malignant"]]
        .fillna(-1)
        .value_counts()
        .eq(1)
        .all()
    )
    assert choose(cases, 99) == sorted(choose(cases, 99), key=choose(cases, 99).index)
    assert sorted(choose(cases, 99)) == [0, 2, 3, 4, 5, 6, 7, 8]


def test_an_example_shows_mask_and_box_in_colour(folder):
    cases = check_manifest(folder / "manifest.csv", lambda done, total: None).cases

    example = examples(cases.iloc[:1], folder)[0]

    content = base64.b64decode(example.uri.split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    assert pixels.shape == (example.height_px, example.width_px, 3) == (240, 320, 3)
    for colour, (x, y) in ((BOX_COLOUR, (81, 100)), (MASK_COLOUR, (182, 145))):
        near = pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
        assert np.abs(near - colour).sum(axis=1).min() < 120
    assert example.alt == "Picture i0, benign, with mask and box"
    assert example.line == 2
