"""Every picture file of a source is in the manifest or in the account."""

import pytest

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_picture_file_is_taken_or_listed(
    name, writers, hospitals, save_picture, tmp_path
):
    source = tmp_path / name
    source.mkdir()
    writers[name](source)
    folders = [source, *(path for path in source.rglob("*") if path.is_dir())]
    for number, folder in enumerate(folders):
        save_picture(folder / f"stray {number}.png")

    read = FORMATS[name](source).rows
    done = import_pictures(
        FORMATS[name], source, tmp_path / "out", hospital=hospitals.get(name)
    )

    columns = read.columns.intersection(["image", "mask"])
    offered = {path.removeprefix("./") for k in columns for path in read[k].dropna()}
    notes = [note for note in done.mended + done.left_out if note.unit == "file"]
    listed = [path for note in notes for path in note.image_ids]
    files = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.suffix in (".png", ".jpg")
    }
    assert len(listed) == len(set(listed))
    assert files <= offered.union(listed)
    left_out = {one for note in done.left_out for one in note.image_ids}
    assert set(read["image_id"]) <= left_out.union(done.rows["image_id"])


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"dicom"}))
def test_what_a_macs_zip_leaves_behind_is_passed_over(name, writers, tmp_path):
    writers[name](tmp_path)
    before = FORMATS[name](tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")

    after = FORMATS[name](tmp_path)

    assert after.rows.equals(before.rows)
    assert (after.mended, after.left_out) == (before.mended, before.left_out)


def test_pictures_that_no_line_names_are_listed(writers, save_picture, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    writers["folder"](source)
    save_picture(source / "y/3.png")
    save_picture(source / "y/._3.png")  # what a Mac's zip leaves behind

    done = import_pictures(FORMATS["folder"], source, tmp_path / "out", hospital="H")

    (note,) = done.left_out
    assert note.reason == "nothing in the source says what it shows"
    assert (note.image_ids, note.unit) == (("y/3.png",), "file")
