"""What a hospital accepts of a bundle: Flower's own thin one, and nothing else."""

import hashlib
import io
import stat
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from thyroid_fl.client.supernode.bundle import MOST_BYTES, refuse_bundle, refuse_run

PROJECT = """
[project]
name = "thyroid-fl"
version = "0.1.0"
dependencies = ["flwr"]

[tool.ruff]
line-length = 88

[tool.flwr.app]
publisher = "thyroidfl"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "thyroid_fl.server.app:app"
clientapp = "thyroid_fl.client.app:app"

[tool.flwr.app.config]
study = ""
"""


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def zipped(files, **attributes):
    """Return a zip of (name, content) pairs; `attributes` are set on its entries."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as bundle:
        warnings.simplefilter("ignore")  # duplicate names
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(entry, key, value)
            bundle.writestr(entry, content)
    return buffer.getvalue()


def files(project=PROJECT, readme="# read me\n", content=None, more=()):
    listed = content
    if listed is None:
        listed = "".join(
            f"{name},{sha256(text.encode())},8\n"
            for name, text in (("pyproject.toml", project), ("README.md", readme))
        )
    return [
        ("pyproject.toml", project), ("README.md", readme), (".info/CONTENT", listed),
        *more,
    ]  # fmt: skip


def refused(content):
    return refuse_bundle(content, sha256(content))


def test_settings_alone_are_accepted():
    assert refused(zipped(files())) is None


def test_the_bundle_that_flower_builds_of_this_repository_is_accepted(tmp_path):
    root, app = Path(__file__).parents[3], tmp_path / "app"
    app.mkdir()
    for name in ("pyproject.toml", "README.md"):
        (app / name).write_bytes((root / name).read_bytes())
    flwr = Path(sys.executable).with_name("flwr")

    subprocess.run([flwr, "build", "--app", app], cwd=tmp_path, check=True, timeout=120)

    content = next(tmp_path.glob("*.fab")).read_bytes()
    named = {"fab_id": "thyroidfl/thyroid-fl", "fab_version": "0.1.0"}
    assert refused(content) is None
    assert refuse_run(content, **named, task_type="flwr-serverapp") is None


def test_another_bundle_than_the_run_names_is_refused():
    content = zipped(files())

    assert "SHA-256 differs" in refuse_bundle(content, sha256(content + b" "))
    assert "SHA-256 differs" in refuse_bundle(content, "")


FOREIGN = [
    "client.py", "thyroid_fl/__init__.py", "thyroid_fl/client/app.py",
    "sitecustomize.py", "settings.json", "data.yaml", "LICENSE", "thyroid_fl.so",
    "x.pth", "flwr/__init__.py", "README.MD", "readme.md", "./README.md",
    "../README.md", "/etc/passwd", "a/README.md", "..\\README.md", "README.md/",
    "README.md\0.py", ".info/", ".info/x", "pyproject.toml ", "PYPROJECT.TOML",
    ".info\\CONTENT", "",
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN, ids=ascii)
def test_any_other_file_is_refused(name):
    base = files()
    content = zipped(base)
    placed = zipped([*base, ("@" * len(name), "import os\n")]) if name else None
    if placed:  # written into the bytes: Python's own writer mends some names
        content = placed.replace(b"@" * len(name), name.encode())
    else:
        content = zipped([*base, ("", "import os\n")])

    assert "the bundle holds" in refused(content) or "cannot be read" in refused(
        content
    )


@pytest.mark.parametrize("name", ["pyproject.toml", "README.md", ".info/CONTENT"])
def test_a_file_that_is_there_twice_is_refused(name):
    content = zipped(files(more=[(name, PROJECT)]))

    assert refused(content) == f"the bundle holds {name} twice"


def test_a_link_is_refused():
    link = (stat.S_IFLNK | 0o777) << 16

    assert "no plain file" in refused(zipped(files(), external_attr=link))


def test_an_encrypted_file_is_refused():
    content = bytearray(zipped(files()))
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1

    assert "encrypted" in refused(bytes(content))


def test_a_bundle_that_unpacks_to_much_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in files(readme=" " * (MOST_BYTES + 1)):
            bundle.writestr(name, text)
    content = buffer.getvalue()

    assert len(content) < MOST_BYTES
    assert "larger than" in refused(content)


def test_a_huge_bundle_is_refused_unopened():
    assert "at most" in refused(b"x" * (MOST_BYTES + 1))


CLIENT = 'clientapp = "thyroid_fl.client.app:app"'
PROJECTS = {
    "other app": (CLIENT, 'clientapp = "os:system"', "clientapp is 'os:system'"),
    "no app": (CLIENT, "", "clientapp is 'None'"),
    "look-alike": (CLIENT, 'clientapp = "thyroid_fl.client.app:\u0430pp"', "u0430pp"),
    "agent app": (CLIENT, CLIENT + '\nagentapp = "a:b"', "names 'agentapp'"),
    "unknown component": (CLIENT, CLIENT + '\nnew = "a:b"', "names 'new'"),
    "unknown key": ("publisher =", "x = 1\npublisher =", "unknown key 'x'"),
    "federations": ("[tool.ruff]", "[tool.flwr.federations]", "unknown key 'federati"),
    "folder upwards": ('"0.1.0"', '"../../x"', "version is '../../x'"),
    "dots": ('"0.1.0"', '"0..1"', "version is '0..1'"),
    "slash in the name": ('"thyroid-fl"', '"a/b"', "name is 'a/b'"),
    "absolute publisher": ('"thyroidfl"', '"/tmp"', "publisher is '/tmp'"),
    "version no text": ('"0.1.0"', "[1]", "version is '[1]'"),
    "no toml": ("[project]", "[project", "cannot be read (TOMLDecodeError)"),
    "no name": ('name = "thyroid-fl"', "", "cannot be read (KeyError)"),
    "app no table": ("[tool.flwr.app]", "[tool.flwr]\napp = 1\n[x]", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("change", PROJECTS)
def test_what_flower_would_act_on_is_checked(change):
    old, new, words = PROJECTS[change]
    assert old in PROJECT

    assert words in refused(zipped(files(PROJECT.replace(old, new, 1))))


@pytest.mark.parametrize("path", ["/etc/hostname", "../x", "thyroid_fl/a.py", ""])
def test_a_list_of_other_files_is_refused(path):
    assert "CONTENT lists" in refused(zipped(files(content=f"{path},00,8\n")))


@pytest.mark.parametrize("missing", ["pyproject.toml", ".info/CONTENT"])
def test_a_bundle_without_its_own_description_is_refused(missing):
    content = zipped([file for file in files() if file[0] != missing])

    assert refused(content) == f"the bundle has no {missing}"


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100, b"import os"])
def test_what_is_no_zip_is_refused(content):
    assert "cannot be read" in refused(content)


@settings(max_examples=200, deadline=None)
@given(some.data())
def test_damage_never_raises(data):
    content = bytearray(zipped(files()))
    for _ in range(data.draw(some.integers(1, 4))):
        content[data.draw(some.integers(0, len(content) - 1))] ^= data.draw(
            some.integers(1, 255)
        )
    cut = data.draw(some.integers(0, len(content)))

    for damaged in (bytes(content), bytes(content[:cut])):
        answer = refused(damaged)

        assert answer is None or answer.isprintable()


@settings(max_examples=100, deadline=None)
@given(some.text(min_size=1, max_size=40))
def test_no_other_name_is_accepted(name):
    try:
        content = zipped(files(more=[(name, "x = 1\n")]))
    except UnicodeEncodeError:
        return

    assert refused(content) is not None


def test_a_run_must_name_its_bundle_and_be_led_by_a_server_app():
    content = zipped(files())
    fine = {
        "fab_id": "thyroidfl/thyroid-fl",
        "fab_version": "0.1.0",
        "task_type": "flwr-serverapp",
    }

    assert refuse_run(content, **fine) is None
    assert "led by 'flwr-agentapp'" in refuse_run(
        content, **(fine | {"task_type": "flwr-agentapp"})
    )
    assert "led by ''" in refuse_run(content, **(fine | {"task_type": ""}))
    for other in ({"fab_version": "../../x"}, {"fab_id": "thyroidfl/../x"}):
        assert "another app" in refuse_run(content, **(fine | other))
