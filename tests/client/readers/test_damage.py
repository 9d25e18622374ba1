"""Whatever happens to a file, the import ends, or says what to mend."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.manifest import read_manifest

# What a record may hold instead of what is expected.
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "y", "points", "p"]), inner)
        | st.dictionaries(st.sampled_from(["info", "images", "nodule_1", "age"]), inner)
    ),
    max_leaves=12,
)
DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.just(None),  # cut here
            st.binary(min_size=0, max_size=3),
            st.sampled_from([b'"', b"<", b">", b"&", b",", b"[", b"9999999999", b"-"]),
        ),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, damage: list[tuple[float, bytes | None]]) -> bytes:
    for place, new in damage:
        start = int(place * len(content))
        if new is None:
            content = content[:start]
        else:
            content = content[:start] + new + content[start + len(new) :]
    return content


@pytest.fixture(scope="module")
def sources(writers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, write in writers.items():
        (folder / name).mkdir()
        write(folder / name)
    return folder


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"folder", "busbra", "dicom"}))
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(which=st.floats(0, 1, exclude_max=True), damage=DAMAGE)
def test_damage_is_survived_or_named(name, sources, tmp_path_factory, which, damage):
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(sources / name, folder / "source")
    files = sorted(path for path in (folder / "source").rglob("*") if path.is_file())
    path = files[int(which * len(files))]
    path.write_bytes(damaged(path.read_bytes(), damage))

    with suppress(ThyroidFLError):
        import_pictures(FORMATS[name], folder / "source", folder / "out")

    if (folder / "out").exists():
        read_manifest(folder / "out/manifest.csv")
    left = {path.name for path in Path(folder).iterdir()}
    assert left <= {"source", "out"}
    shutil.rmtree(folder)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(regions=JSON)
def test_any_outlines_are_survived(tmp_path_factory, regions):
    folder = tmp_path_factory.mktemp("outlines")
    svg = escape(json.dumps(regions))
    mark = f"<mark><image>1</image><svg>{svg}</svg></mark>"
    (folder / "1.xml").write_text(f"<case>{mark}</case>")
    Image.new("L", (48, 40)).save(folder / "1_1.jpg")

    done = FORMATS["ddti"](folder)

    assert done.rows["image_id"].tolist() == ["1_1"]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(records=JSON)
def test_any_records_are_survived(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("records")
    (folder / "train/images").mkdir(parents=True)
    Image.new("L", (48, 40)).save(folder / "train/images/1_A_0.png")
    (folder / "records.json").write_text(json.dumps({"1": records, "2": {"images": 1}}))

    done = FORMATS["thyroidxl"](folder)

    assert done.rows["patient_id"].tolist() == ["1"]
