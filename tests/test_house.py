"""The rules of the house: where things live and which way imports point."""

import ast
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("strategies", "client", "server", "simulation")
# What each folder may import, besides itself and the core.
ALLOWED = {
    "core": set(),
    "strategies": set(),
    "client": {"strategies"},
    "server": {"strategies"},
    "simulation": {"strategies", "client", "server"},
}
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def sources(folder):
    if folder == "core":
        inside = [p for p in (ROOT / "thyroid_fl").iterdir() if not p.is_symlink()]
        files = [p for p in inside if p.suffix == ".py"]
        return files + [f for p in inside if p.is_dir() for f in p.rglob("*.py")]
    return list((ROOT / folder).rglob("*.py"))


def imported(path):
    """The modules that a file imports, but those under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder):
    files = sources(folder)

    assert files
    for path in files:
        for module in imported(path):
            parts = module.split(".")
            if parts[0] == "thyroid_fl" and len(parts) > 1 and parts[1] in FOLDERS:
                allowed = ALLOWED[folder] | {folder}
                assert parts[1] in allowed, f"{path} imports {module}"


def test_links_and_package_mapping_agree():
    links = {
        p.name: p.readlink() for p in (ROOT / "thyroid_fl").iterdir() if p.is_symlink()
    }

    assert links == {folder: Path("..") / folder for folder in FOLDERS}
    mapped = {k: v for k, v in SETUPTOOLS["package-dir"].items() if k != "thyroid_fl"}
    assert mapped == {f"thyroid_fl.{folder}": folder for folder in FOLDERS}


def test_every_package_is_listed():
    found = {"thyroid_fl"}
    for folder in ("thyroid_fl", *FOLDERS):
        for init in (ROOT / folder).rglob("__init__.py"):
            if any(part.is_symlink() for part in init.parents):
                continue
            parts = init.parent.relative_to(ROOT).parts
            prefix = () if parts[0] == "thyroid_fl" else ("thyroid_fl",)
            found.add(".".join(prefix + parts))

    assert set(SETUPTOOLS["packages"]) == found


def test_importing_the_hospitals_app_stays_light():
    code = (
        "import sys, thyroid_fl.client.app; "
        "print([m for m in ('mlflow', 'ultralytics', 'opacus', 'matplotlib', "
        "'segmentation_models_pytorch', 'ray') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_wheel_holds_every_module(tmp_path):
    """Built from what git tracks, imported in a clean environment."""
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    clean = tmp_path / "clean"
    # The dependencies are this environment's; the package itself is the wheel's.
    venv.create(clean, with_pip=True)
    site = next(clean.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(
        "\n".join(p for p in sys.path if p.endswith("site-packages"))
    )
    python = clean / "bin" / "python"
    wheel = next(tmp_path.glob("*.whl"))
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheel],
        check=True,
    )
    modules = []
    for name in tracked:
        path = Path(name)
        if path.suffix != ".py" or path.parts[0] not in ("thyroid_fl", *FOLDERS):
            continue
        parts = path.with_suffix("").parts
        parts = parts if parts[0] == "thyroid_fl" else ("thyroid_fl", *parts)
        modules.append(".".join(parts).removesuffix(".__init__"))
    code = (
        "import importlib, pathlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    module = importlib.import_module(name)\n"
        f"    assert str(module.__file__).startswith({str(site)!r}), module.__file__\n"
        "print(len(sys.argv) - 1)"
    )

    done = subprocess.run(
        [python, "-c", code, *modules],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.stderr == ""
    assert int(done.stdout) == len(modules) > 40


@pytest.mark.parametrize("module", ["thyroid_fl", "thyroid_fl.client.app"])
def test_a_warning_from_our_own_packages_is_an_error(module):
    ours = compile("import warnings; warnings.warn('ours')", "<ours>", "exec")

    with pytest.raises(UserWarning, match="ours"):
        exec(ours, {"__name__": module})
