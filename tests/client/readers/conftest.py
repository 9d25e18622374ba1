"""Small published data sets, each with every quirk of its format."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.client.readers.result import Import
from thyroid_fl.manifest import read_manifest

SIZE = (48, 40)


def picture(path: Path, seed: object = None, mode: str = "L") -> None:
    """Save a picture that differs from those of other seeds."""
    rng = np.random.default_rng([*str(seed or path).encode()])
    coarse = Image.fromarray(rng.integers(0, 255, (5, 6), np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse.resize(SIZE, Image.Resampling.NEAREST).convert(mode).save(path)


def mask(path: Path, *boxes: tuple[int, ...], mode: str = "L", size=SIZE) -> None:
    """Save a mask that is white in the boxes."""
    pixels = np.zeros(size[::-1], np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def square(x: int, y: int, side: int) -> list[dict[str, int]]:
    corners = (x, y), (x + side, y), (x + side, y + side), (x, y + side)
    return [{"x": a, "y": b} for a, b in corners]


def ddti(folder: Path) -> None:
    def region(points: object, kind: str = "freehand") -> dict[str, object]:
        return {"points": points, "annotation": {}, "regionType": kind}

    arrow = region(square(9, 9, 12)[:2], "arrow")
    outlined = [region(square(5, 5, 14)), region(square(28, 20, 12)), arrow]
    whole = json.dumps(outlined)
    marks = {
        # Case: (sex, age, tirads, {picture: svg})
        1: ("F", "44", "4a", {1: whole, 2: whole[:-60]}),
        2: ("M", "40 ", "2", {3: ""}),
        3: ("u", "", "", {1: json.dumps([arrow])}),
        4: ("", "250", "6", {1: json.dumps([region(square(-9, -9, 25))])}),
        5: ("F", "30", "5", {1: json.dumps([region(square(5, 5, 20)),
                                            region(square(6, 6, 20))])}),
        6: ("F", "31", "3", {1: whole, 2: json.dumps([region(square(9, 9, 7))])}),
        7: ("F", "32", "4b", {1: whole}),
    }  # fmt: skip
    for number, (sex, age, tirads, svgs) in marks.items():
        text = "".join(
            f"<mark><image>{k}</image><svg>{svg}</svg></mark>"
            for k, svg in svgs.items()
        )
        (folder / f"{number}.xml").write_text(
            f"<case><number>{number}</number><age>{age}</age><sex>{sex}</sex>"
            f"<tirads>{tirads}</tirads>{text}</case>"
        )
        for k in svgs:
            picture(folder / f"{number}_{k}.jpg", f"{number}_{k}")
    picture(folder / "6_1.jpg", "1_1")  # one picture, two cases
    (folder / "7_1.jpg").unlink()
    (folder / "8.xml").write_text("<case><number>8</number>")
    picture(folder / "8_1.jpg")
    bomb = "".join(
        f'<!ENTITY e{i} "{f"&e{i - 1};" * 9 if i else "x"}">' for i in range(9)
    )
    (folder / "9.xml").write_text(f"<!DOCTYPE case [{bomb}]><case>&e8;</case>")


def busi(folder: Path) -> None:
    for kind, count in (("benign", 5), ("malignant", 2), ("normal", 1)):
        for i in range(1, count + 1):
            picture(folder / kind / f"{kind} ({i}).png", f"{kind}{i}", "RGB")
    modes = {"benign (1)": "1", "benign (2)": "RGBA", "malignant (1)": "1"}
    for name, mode in (modes | {"malignant (2)": "L"}).items():
        path = folder / name.split()[0] / f"{name}_mask.png"
        mask(path, (5, 5, 15, 15), mode=mode)
    mask(folder / "normal/normal (1)_mask.png", mode="RGB")
    three = folder / "benign/benign (3)_mask.png"
    mask(three, (5, 5, 15, 15))
    mask(three.with_stem(f"{three.stem}_1"), (15, 5, 25, 15))
    mask(folder / "benign/benign (4)_mask.png", (5, 5, 15, 15))
    mask(folder / "benign/benign (4)_mask_1.png", (5, 5, 9, 9), size=(9, 9))
    mask(folder / "benign/benign (99)_mask.png", (5, 5, 15, 15))
    picture(folder / "malignant/malignant (2).png", "benign2", "RGB")


def tn3k(folder: Path) -> None:
    for side, names in (("trainval", "0000 0001 0002 0003"), ("test", "0000 0001")):
        for name in names.split():
            picture(folder / f"tn3k/{side}-image/{name}.jpg", f"{side}{name}")
            mask(folder / f"tn3k/{side}-mask/{name}.jpg", (8, 8, 24, 24))
    picture(folder / "tn3k/trainval-image/0003.jpg", "test0001")
    mask(folder / "tn3k/trainval-mask/0009.jpg", (8, 8, 24, 24))
    (folder / "tn3k/test-mask/0001.jpg").unlink()
    (folder / "label4trainval.csv").write_text(
        "\ufeff0000.jpg,0\n0001.jpg,1\n0003.jpg,1\n", encoding="utf-8"
    )
    (folder / "label4test.csv").write_text("0000.jpg,1\n0001.jpg,0\n0005.jpg,0\n")
    folds = {0: ([0, 1, 3], [2]), 2: ([1], [0, 1, 7])}
    for k, (train, val) in folds.items():
        path = folder / f"tn3k/tn3k-trainval-fold{k}.json"
        path.write_text(json.dumps({"train": train, "val": val}))
    picture(folder / "tg3k/thyroid-image/0000.jpg", "gland")


def tn5000(folder: Path) -> None:
    root = folder / "TN5000_forReview/TN5000_forReview"
    boxes = {
        "000001": ("1", (1, 1, 10, 20)),
        "000002": ("0", (30, 20, 900, 900)),
        "000003": ("0", (20, 20, 10, 10)),
        "000004": ("2", ("a", 1, 10, 20)),
        "000006": ("1", (1, 1, 9, 9)),
    }
    for name, (label, edges) in boxes.items():
        picture(root / f"JPEGImages/{name}.jpg", name)
        tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
        box = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in tags)
        path = root / f"Annotations/{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "<annotation><size><width>1</width><height>1</height></size><object>"
            f"<name>{label}</name><bndbox>{box}</bndbox></object></annotation>"
        )
    picture(root / "JPEGImages/000005.jpg", "000005")
    shutil.copy(path, root / "Annotations/000008.xml")
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("000001\n000002\n\n")
    (lists / "val.txt").write_text("000003\n")
    (lists / "trainval.txt").write_text("000001\n000002\n000003\n")
    (lists / "test.txt").write_text("000004\n000005\n000007\n")


def tnui(folder: Path) -> None:
    root = folder / "thyroid_data"
    for side, names in (("train", "0010 0011 0012"), ("val", "0020"), ("test", "0030")):
        for name in names.split():
            picture(root / f"{side}/images/{name}.png", name)
            mask(root / f"{side}/masks/{name}.png", (8, 8, 24, 24))
    (root / "train/masks/0011.png").unlink()
    mask(root / "train/masks/0013.png", (8, 8, 24, 24))
    (root / "train_img_labels.csv").write_text(
        "ID,Labels\n0010.png,0\n0011.png,1\n10200.png,1\n"
    )
    (root / "val_img_labels.csv").write_text("ID,Labels\n0020.png,1\n")
    (root / "test_img_labels.csv").write_text("ID,Labels\n0030.png,0\n")


def stanford(folder: Path) -> None:
    rng = np.random.default_rng(1)
    clip = rng.integers(0, 255, (3, 5, 6), np.uint8).repeat(8, 1).repeat(8, 2)
    image = np.concatenate([clip, np.roll(clip, 9, axis=2)])
    image[1] = image[0]  # neighbours in a clip are nearly the same
    drawn = np.zeros_like(image)
    drawn[:5, 8:24, 10:30] = 255
    with h5py.File(folder / "dataset.hdf5", "w") as file:
        file["image"], file["mask"] = image, drawn
        file["annot_id"] = np.array([b"12_", b"12_", b"12_", b"7_", b"7_", b"9_"])
        file["frame_num"] = np.array([b"0", b"1", b"2", b"0", b"1", b"0"])
    (folder / "metadata.csv").write_text(
        "annot_id,age,sex,location,ti-rads_level,histopath_diagnosis\n"
        "12_,44,F,left,4,1\n7_,50,M,right,5,0\n8_,51,F,left,3,0\n"
    )


def thyroidxl(folder: Path) -> None:
    names = {
        "train": (
            "00000058_A_0",
            "00000058_B_1",
            "00000060_A_0",
            "00000061_A_0",
            "00000062_A_0",
        ),
        "test": ("00000070_A_0",),
    }
    for side, stems in names.items():
        for name in stems:
            picture(folder / f"{side}/images/{name}.png", name)
            mask(folder / f"{side}/masks/{name}.png", (8, 8, 24, 24))
    (folder / "train/masks/00000058_B_1.png").unlink()
    mask(folder / "train/masks/00000060_B_1.png", (8, 8, 24, 24))
    nodule = {"TIRADS": 5, "Conclusion": "Malignant (FNAC) - 6", "Histopathology": None}
    records = {
        "00000058": {
            "age": 60, "gender": 2, "conclusion": 6, "nodule_1": nodule,
            "nodule_2": None, "images": ["00000058_A_0.png", "00000058_B_1.png"],
        },
        "00000060": {
            "age": None, "gender": 1, "nodule_1": nodule | {"TIRADS": "4a"},
            "nodule_2": {"TIRADS": 4, "Conclusion": "Benign (FNAC) - 3"},
            "images": ["00000060_A_0.png", "00000060_B_1.png"],
        },
        "00000062": {
            "age": None, "gender": None, "nodule_1": nodule, "nodule_2": {},
            "images": ["00000062_A_0.png"],
        },
    }  # fmt: skip
    path = folder / "train/train_annotations.json"
    path.write_text(json.dumps({"info": records}))
    benign = {"TIRADS": None, "Histopathology": "Benign"}
    path = folder / "stats/id2info_eng_clean.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps({"00000070": {"nodule_1": benign, "images": ["00000070_A_0.png"]}})
    )


def auitd(folder: Path) -> None:
    root = folder / "dataset thyroid"
    for name in (
        "train/benign/a.jpg",
        "train/benign/a - Copy.jpg",
        "train/benign/photocopy.jpg",
        "train/malignant/Tiroides4/a.jpg",
        "train/normal thyroid/n.jpg",
        "test/Benign/b.jpg",
        "test/Malignant/Tiroides4/c - Copy (2).jpg",
        "test/Malignant/Tiroides4/c.jpg",
    ):
        picture(root / name)
    (root / "test/Malignant/broken.jpg").write_bytes(b"\xff\xd8\xff")


def breastmnist(folder: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {}
    for side, count in (("train", 4), ("val", 2), ("test", 2)):
        arrays[f"{side}_images"] = rng.integers(0, 255, (count, 28, 28), np.uint8)
        arrays[f"{side}_labels"] = (np.arange(count, dtype=np.uint8) % 2)[:, None]
    np.savez_compressed(folder / "breastmnist.npz", **arrays)


def busbra(folder: Path) -> None:
    rows = [
        # ID, Case, Pathology, Device, Width, Height, BBOX, kFold
        ("0001-l", 1, "malignant", "GE Logiq 7 @10-14MHz", 48, 40, "[11,6,19,9]", 1),
        ("0001-r", 1, "malignant", "GE Logiq 7 @10-14MHz", 49, 40, "[1,1,9,9]", 1),
        ("0002-s", 2, "benign", "U-Systems @10-14MHz", 48, 40, "[91,24,103,79]", 2),
        ("0003-s", 3, "benign", "Toshiba Aplio 300 @12-14 MHz", 48, 40, "[1,2,3,4]", 3),
        ("0004-s", 4, "benign", "GE Logiq 5 @10-12MHz", 48, 40, "[5,6,9,9]", 4),
    ]
    table = pd.DataFrame(
        [
            [f"bus_{n}", case, "fibroadenoma", path, 4, device, w, h, "left", box]
            for n, case, path, device, w, h, box, _ in rows
        ],
        columns=[
            "ID", "Case", "Histology", "Pathology", "BIRADS", "Device", "Width",
            "Height", "Side", "BBOX",
        ],
    )  # fmt: skip
    folds = pd.DataFrame({"ID": table["ID"], "Pathology": table["Pathology"]})
    folds["kFold"] = [row[-1] for row in rows]
    for k in range(1, 6):
        valid = pd.Series([k % 2, 1, 0, 1, 0])
        folds[f"valid_{k}"] = valid.astype(object).mask(folds["kFold"] == k, "NaN")
    table.to_csv(folder / "bus_data.csv", index=False)
    folds.to_csv(folder / "5-fold-cv.csv", index=False)
    for n, *_ in rows[:-1]:
        picture(folder / f"Images/bus_{n}.png", n)
    masks = folder / "Masks"
    mask(masks / "mask_0001-l.png", (10, 5, 20, 15), (25, 8, 30, 15), mode="1")
    mask(masks / "mask_0001-r.png", (0, 0, 10, 10), mode="1")
    mask(masks / "mask_0002-s.png", (5, 5, 8, 8), (8, 8, 12, 12), mode="1")
    mask(masks / "mask_0004-s.png", (5, 5, 8, 8), mode="1")  # without its picture


def plain(folder: Path) -> None:
    for name in ("x/1.png", "y/1.png", "y/2.png"):
        picture(folder / name, name)
    mask(folder / "masks/m.png", (3, 4, 13, 24))
    (folder / "list.csv").write_text(
        "image_id,patient_id,image,mask,malignant,age\n"
        "a,1,x/1.png,masks/m.png,1,44\n"
        "b,1,y/1.png,,1,44\n"
        "c,2,./y/2.png,,,\n"
    )


WRITERS: dict[str, Callable[[Path], None]] = {
    "auitd": auitd,
    "breastmnist": breastmnist,
    "busbra": busbra,
    "busi": busi,
    "ddti": ddti,
    "folder": plain,
    "stanford": stanford,
    "thyroidxl": thyroidxl,
    "tn3k": tn3k,
    "tn5000": tn5000,
    "tnui": tnui,
}


HOSPITALS = {"dicom": "St. Anna", "folder": "St. Anna"}
"""For the formats that name none."""


@pytest.fixture(scope="session")
def writers(write_dicom, dicom_picture, dicom_region):
    """Return a function for each format that writes a small one into a folder."""

    def dicom(folder: Path) -> None:
        clip = np.stack([dicom_picture(seed) for seed in (1, 2, 3)])
        scan = (dicom_region(10, 12, 69, 59),)
        write_dicom(folder / "a/IM 1", clip, PatientID="01", FrameTime=1000)
        write_dicom(folder / "a/IM 2", dicom_picture(4), PatientID="01", regions=scan)
        write_dicom(folder / "b/IM 1", dicom_picture(5), PatientID="02")
        picture(folder / "b/screenshot.png")
        (folder / "labels.csv").write_text("patient_id,malignant\n01,1\n02,0\n")

    return WRITERS | {"dicom": dicom}


@pytest.fixture(scope="session")
def hospitals():
    return HOSPITALS


@pytest.fixture(scope="session")
def save_picture():
    return picture


@pytest.fixture
def imported(writers, tmp_path):
    """Write a small data set, import it, and return the account and the cases."""

    def run(name: str) -> tuple[Import, object]:
        source, out = tmp_path / name, tmp_path / "out"
        source.mkdir()
        writers[name](source)
        done = import_pictures(FORMATS[name], source, out, hospital=HOSPITALS.get(name))
        return done, read_manifest(tmp_path / "out/manifest.csv").set_index("image_id")

    return run
