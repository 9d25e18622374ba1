"""Whatever happens to a file, import and check end with an account or say what to mend.

The command line forgives any exception with a hint; here, the hint is the failure.
"""

import json
import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from thyroid_fl.client.cli import main
from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.manifest import read_manifest, write_manifest

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
MANIFESTS = ("manifest.csv", "manifest.parquet")
SUBJECTS = (*sorted(FORMATS), *MANIFESTS)
SYNTAX = (b'"', b"'", b"<", b">", b"&", b",", b"[", b"]", b"{", b"\n", b"\r", b"\0",
          b"-", b".", b"/", b"../", b"9999999999", b"1e999", b"nan", b" ", b"\xff",
          "\u2028".encode())  # fmt: skip

Rng = np.random.Generator


def cut(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def flip(content: bytes, rng: Rng) -> bytes:
    flipped = bytearray(content)
    for bit in rng.integers(0, 8 * len(content), rng.integers(1, 9)) if content else ():
        flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def overwrite(content: bytes, rng: Rng) -> bytes:
    for _ in range(rng.integers(1, 4)):
        new, start = rng.choice(SYNTAX), rng.integers(len(content) + 1)
        end = start + rng.choice([0, len(new)])
        content = content[:start] + new + content[end:]
    return content


def repeat(content: bytes, rng: Rng) -> bytes:
    """Copy a part, of whole lines where there are any, to another place."""
    lines = content.splitlines(keepends=True)
    start, place = rng.integers(len(lines) + 1, size=2)
    part = lines[start : start + rng.integers(1, 4)]
    return b"".join([*lines[:place], *part, *lines[place:]])


def garbage(content: bytes, rng: Rng) -> bytes:
    return rng.bytes(rng.integers(0, 300))


WAYS: tuple[Callable[[bytes, Rng], bytes], ...] = (
    cut, flip, overwrite, repeat, garbage
)  # fmt: skip


def damage(folder: Path, rng: Rng) -> None:
    """Damage, swap, remove or replace by a folder one to three files."""
    for _ in range(rng.integers(1, 4)):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            return
        # One list among many pictures is as likely as the pictures.
        suffix = rng.choice(sorted({path.suffix for path in files}))
        alike = [path for path in files if path.suffix == suffix]
        path, other = alike[rng.integers(len(alike))], files[rng.integers(len(files))]
        content, kind = path.read_bytes(), rng.integers(8)
        if kind == 0 and path != other:
            path.write_bytes(other.read_bytes())
            other.write_bytes(content)
        elif kind <= 1:
            path.unlink()
        elif kind == 2:
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(WAYS[kind - 3](content, rng))


@pytest.fixture(scope="module")
def sources(writers, hospitals, tmp_path_factory):
    """Write every format, and a manifest with all kinds of columns."""
    folder = tmp_path_factory.mktemp("sources")
    for name in FORMATS:
        (folder / name).mkdir()
        writers[name](folder / name)
    for name in MANIFESTS:
        import_pictures(FORMATS["tn3k"], folder / "tn3k", folder / name)
        cases = read_manifest(folder / name / "manifest.csv")
        (folder / name / "manifest.csv").unlink()
        cases = cases.assign(age=45.5, sex="F", view="transverse", frame=3.0)
        write_manifest(cases, folder / name / name)
    return folder


@pytest.fixture
def spoil(sources, hospitals, tmp_path):
    """Return a function that damages a copy of a subject and imports or checks it."""

    def run(name: str, seed: int) -> None:
        source, out = tmp_path / "source", tmp_path / "out"
        shutil.copytree(sources / name, source)
        damage(source, np.random.default_rng([*name.encode(), seed]))
        command = ["check", source / name]
        if name in FORMATS:
            named = ["--hospital", hospitals[name]] if name in hospitals else []
            command = ["import", name, source, out, *named]

        done = CliRunner().invoke(main, [str(part) for part in command])

        assert done.exit_code in (0, 1, 2), (name, seed, done.exception)
        assert "hint: --debug" not in done.stderr, (name, seed, done.stderr)
        assert (done.exit_code == 2) == done.stderr.startswith("error: "), (name, seed)
        assert out.exists() == (name in FORMATS and done.exit_code == 0), (name, seed)
        left = {path.name for path in tmp_path.iterdir()}
        assert left <= {"source", "out", "config"}, (name, seed, left)
        if out.exists():
            read_manifest(out / "manifest.csv")
            shutil.rmtree(out)
        shutil.rmtree(source)

    return run


@pytest.mark.parametrize("name", SUBJECTS)
def test_damage_is_survived_or_named(name, spoil):
    for seed in range(5):
        spoil(name, seed)


@pytest.mark.slow
def test_a_minute_of_damage_is_survived_or_named(spoil):
    end = time.monotonic() + 60

    for seed in count(5):
        if time.monotonic() > end:
            break
        for name in SUBJECTS:
            spoil(name, seed)


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
