"""Nothing that names or shows a patient leaves a hospital: every byte is searched.

Searched are all messages to and from the centre as Flower sends them, all files and
their names that the centre writes, what it logs, prints and raises. The hospital's own
log (`thyroid_fl.client`) stays with the hospital: it may name pictures, and that it
does shows that the errors provoked here had something to hide.
"""

import logging
import shutil
import traceback
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.common.serde import message_to_proto
from PIL import Image

from thyroid_fl.client import answering
from thyroid_fl.client import app as client
from thyroid_fl.errors import RoundError
from thyroid_fl.manifest import write_manifest
from thyroid_fl.server.app import app as server_app
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import run_in_process

HOSPITALS = {"Klinikum Geheimrat": "archiv-geheimrat", "Praxis Stille": "archiv-stille"}
"""Name -> folder."""
SIDES = ["train"] * 7 + ["val"] * 3 + ["test"] * 2
ROW_PX = 16
"""So many neighbouring pixels of one picture are no coincidence."""


def write_hospital(name: str, folder: Path, seed: int) -> None:
    """Write twelve patients whose names, ids and paths would be recognised."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, side in enumerate(SIDES):
        patient = f"MRN-{name[:4]}-{8150 + number}"
        image = f"aufnahmen-{seed}/US {patient}.png"
        mask = f"umrisse-{seed}/Umriss {patient}.png"
        pixels = rng.integers(0, 160, (60, 70), np.uint8)
        pixels[20:40, 20:45] += np.uint8(80 * (number % 2))
        nodule = np.zeros((60, 70), bool)
        nodule[20:40, 20:45] = True
        for path, array in ((image, pixels), (mask, nodule)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / path)
        rows.append(
            {
                "image_id": f"Bild-{patient}",
                "patient_id": patient,
                "hospital": name,
                "image": image,
                "mask": mask,
                "boxes": ((20, 20, 45, 40),),
                "malignant": number % 2,
                "device": f"Geraet SN-{seed}-{number}",
                "nodule_id": f"Knoten-{patient}",
                "age": 30 + number,
                "sex": "FM"[number % 2],
                "split": side,
            }
        )
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Write the hospitals' folders."""
    root = tmp_path_factory.mktemp("hospitals")
    for seed, (name, folder) in enumerate(HOSPITALS.items()):
        write_hospital(name, root / folder, seed)
    return [root / folder for folder in HOSPITALS.values()]


def words(archive: Path) -> set[bytes]:
    """Return what a hospital's manifest says in words, and the folders' names."""
    table = pd.read_csv(archive / "manifest.csv", dtype="str")
    columns = ["image_id", "patient_id", "hospital", "image", "mask", "device"]
    texts = {archive.name, *table[columns].to_numpy().ravel(), *table["nodule_id"]}
    for path in {*table["image"], *table["mask"]}:
        texts |= {*Path(path).parts, Path(path).stem}
    return {text.encode() for text in texts}


def pixels(archive: Path) -> set[bytes]:
    """Return some pixels of each picture: as the store has them, and as the file."""
    pieces: set[bytes] = set()
    for store in archive.glob("pixels/*/*s.npy"):
        if store.stem in ("pixels", "thumbnails"):
            for picture in np.load(store):
                rows = picture[[20, 32, 44], 24 : 24 + ROW_PX]
                pieces |= {row.tobytes() for row in rows}
                pieces |= {(row / np.float32(255)).tobytes() for row in rows}
    for path in archive.glob("aufnahmen-*/*"):
        content = path.read_bytes()
        pieces |= {content[at : at + ROW_PX] for at in (200, 400, 600)}
    return pieces


@pytest.fixture
def federate(tmp_path, caplog, capfd, monkeypatch):
    """Return a function that runs a study; gives all that leaves, by where it is."""
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "thyroid_fl")
    runs = count(1)

    def run(archives: list[Path], *, ask: str = "training", **settings) -> dict:
        study = make_study(
            image_px=64, rounds=1, local_epochs=1, warmup_rounds=0, split="manifest",
            threads=1, **settings,
        )  # fmt: skip
        seen: dict[str, bytes] = {}

        def see(where: str, message) -> None:
            kind = f"{where} {message.metadata.message_type} {len(seen)}"
            seen[kind] = message_to_proto(message).SerializeToString()
            if message.has_error():
                seen[f"error {kind}"] = str(message.error).encode()

        def watched(message, context):
            see("to", message)
            return client.app(message=message, context=context)

        out = tmp_path / f"centre-{next(runs)}"
        config = {"study": study.to_json(), "out": str(out), "ask": ask}
        nodes = [{"manifest": str(path / "manifest.csv")} for path in archives]
        caplog.clear()
        try:
            run_in_process(server_app, watched, nodes, config, lambda m: see("from", m))
        except RoundError:
            seen["raised"] = traceback.format_exc().encode()
        form = logging.Formatter("%(name)s %(pathname)s %(message)s")
        for record in caplog.records:
            if not record.name.startswith("thyroid_fl.client"):
                seen[f"log {len(seen)}"] = form.format(record).encode()
        seen["printed"] = "".join(capfd.readouterr()).encode()
        for path in out.rglob("*"):
            name = path.relative_to(out).as_posix()
            seen[f"file {name}"] = path.read_bytes() if path.is_file() else b""
        return seen

    return run


def found(seen: dict[str, bytes], archives: list[Path]) -> list[tuple[str, bytes]]:
    """Return where a hospital's words or pixels are seen."""
    secrets = set().union(*map(words, archives), *map(pixels, archives))
    return [
        (where, secret)
        for where, content in seen.items()
        for secret in secrets
        if secret in content or secret in where.encode()
    ]


def places(seen: dict[str, bytes]) -> set[str]:
    return {where.rstrip(" 0123456789") for where in seen}


def test_the_search_finds_what_a_hospital_keeps(archives, federate):
    federate(archives)

    for archive in archives:
        own = {str(p): p.read_bytes() for p in archive.rglob("*") if p.is_file()}
        hits = {secret for _, secret in found(own, archives)}
        assert words(archive) <= hits
        stored = {piece for piece in pixels(archive) if piece in hits}
        assert len(pixels(archive)) >= len(SIDES) * (2 * 3 * 2 + 3)
        assert len(stored) >= len(SIDES) * (2 * 3 + 3)  # all but those as floats


@pytest.mark.parametrize("task", ["detection", "segmentation", "classification"])
def test_training_tells_no_name_and_shows_no_picture(task, archives, federate):
    seen = federate(archives, task=task)

    assert places(seen) >= {
        "to train", "from train", "to evaluate", "from evaluate", "log", "printed",
        "file model.safetensors", "file MODEL_CARD.md", "file history.csv",
        "file checkpoint/checkpoint.json", "file participation.csv",
    }  # fmt: skip
    assert sum(where.startswith("from train") for where in seen) == 2
    assert not any(where.startswith("error") for where in seen)
    assert found(seen, archives) == []


def test_the_data_summary_tells_no_name_and_shows_no_picture(archives, federate):
    seen = federate(archives, ask="summary")

    assert sum(where.startswith("from query.summary") for where in seen) == 2
    assert places(seen) >= {
        "file hospitals.csv",
        "file table_1.csv",
        "file summary.svg",
    }
    assert found(seen, archives) == []


def first(archive: Path, pattern: str) -> Path:
    return min(archive.glob(pattern))


def edit(archive: Path, old: str, new: str) -> None:
    path = archive / "manifest.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


LEFT_OUT = {"picture": "aufnahmen-*/*", "mask": "umrisse-*/*"}
ERRORS = {
    "broken pictures": lambda archive: [
        path.write_bytes(b"\x89PNG") for path in archive.glob("aufnahmen-*/*")
    ],
    "absent picture": lambda archive: first(archive, "auf*/*").unlink(),
    "binary manifest": lambda archive: (archive / "manifest.csv").write_bytes(b"\xff"),
    "absent manifest": lambda archive: (archive / "manifest.csv").unlink(),
    "wrong cell": lambda archive: edit(archive, ",MRN-Prax-8150,", ",MRN-Prax-8150 ,"),
    "patient on two sides": lambda archive: edit(
        archive, ",MRN-Prax-8158,", ",MRN-Prax-8150,"
    ),
    "picture on two sides": lambda archive: shutil.copy(
        first(archive, "auf*/*8150.png"), first(archive, "auf*/*8158.png")
    ),
}


@pytest.fixture
def spoilt(archives, tmp_path):
    """Return a function that copies the second hospital and spoils it."""

    def copy(spoil) -> Path:
        folder = tmp_path / "sites" / archives[1].name
        shutil.copytree(archives[1], folder, ignore=shutil.ignore_patterns("pixels"))
        spoil(folder)
        return folder

    return copy


def check_error(kind, caplog, archives, seen, alone) -> None:
    """Check that an error was told by its kind, and in full to the hospital alone."""
    assert f"{kind} in the hospital".encode() in alone["raised"]
    assert any(where.startswith("error from") for where in seen)
    kept = [
        r.exc_text for r in caplog.records if r.name == "thyroid_fl.client.answering"
    ]
    assert any("MRN-" in text or "archiv-" in text for text in kept)
    assert found(seen, archives) == found(alone, archives) == []


@pytest.mark.parametrize("files", LEFT_OUT.values(), ids=LEFT_OUT)
@pytest.mark.parametrize("ask", ["training", "summary"])
def test_what_a_hospital_leaves_out_tells_no_name(
    ask, files, archives, spoilt, federate
):
    bad = spoilt(lambda archive: first(archive, files).write_bytes(b"\x89PNG"))

    seen = federate([archives[0], bad], ask=ask, task="segmentation")

    assert not any(where.startswith("error from") for where in seen)
    assert found(seen, archives) == []


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("ask", ["training", "summary"])
def test_an_error_of_a_hospital_tells_no_name(
    ask, error, archives, spoilt, federate, caplog
):
    bad = spoilt(ERRORS[error])

    seen = federate([archives[0], bad], ask=ask)
    alone = federate([bad], ask=ask)

    check_error("ManifestError", caplog, archives, seen, alone)


@pytest.mark.parametrize(
    ("module", "name"),
    [(answering, "open_site"), (client, "local_update"), (client, "validate")],
)
def test_a_fault_of_the_program_tells_no_name(
    module, name, archives, federate, caplog, monkeypatch
):
    def fail(*_: object, **__: object) -> None:
        raise KeyError(f"{archives[1]}: MRN-Prax-8150")

    monkeypatch.setattr(module, name, fail)

    seen = federate(archives)

    check_error("KeyError", caplog, archives, seen, seen)


def test_training_that_diverges_tells_no_name(archives, federate):
    seen = federate(archives, optimizer="sgd", learning_rate=1e30)

    assert b"RoundError in the hospital" in seen["raised"]
    assert found(seen, archives) == []
