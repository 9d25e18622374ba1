"""ThyroidXL: patients of the Hospital of Endocrinology, Vietnam.

As published: ``{train,test}/images/*.png``, masks of the same names in
``{train,test}/masks``, and records of patients in ``{split}/{split}_annotations.json``
or ``stats/id2info_eng_clean.json``. The diagnosis is a nodule's, of cytology or
histology; which nodule a picture shows is not published.
"""

import json
from pathlib import Path
from typing import Any

from thyroid_fl.client.readers.published import (
    TIRADS,
    Row,
    as_age,
    files_in,
    find_folders,
    paths_by_stem,
    pictures_in,
    relative,
    rows_of,
    without,
    without_picture,
)
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.errors import ManifestError

SEXES = {"1": "M", "2": "F"}
"""Not documented; the same authors give DDTI's case 2, a woman, the code 2."""
DIAGNOSES = {"benign": "0", "malignant": "1"}


def read(source: Path) -> Import:
    """Return the pictures of ThyroidXL that lie in a folder.

    Raises:
        ManifestError: there is none, or the records cannot be read.
    """
    patients = _patients(source)
    rows: list[Row] = []
    outlined: list[str] = []
    for side in ("train", "test"):
        for folder in find_folders(source, side):
            masks = paths_by_stem(folder / "masks", source)
            for image in pictures_in(folder / "images"):
                patient = patients.get(image.stem, (image.stem.partition("_")[0], {}))
                rows.append(
                    {
                        "image_id": image.stem,
                        "image": relative(image, source),
                        "mask": masks.get(image.stem),
                        "split": side,
                        **_cells(*patient),
                    }
                )
            outlined += masks.values()
    table = rows_of(rows, source, "ThyroidXL", "train/images and test/images")
    is_known = table["image_id"].isin(patients)
    absent = sorted(patients.keys() - set(table["image_id"]))
    return Import(
        rows=table,
        table=source,
        mended=(
            Note.of(
                "no record names the picture; its patient is the head of its name",
                table[~is_known],
            ),
            without(table, "mask", "there is no mask"),
            without(
                table, "malignant", "the patient's nodules have no common diagnosis"
            ),
        ),
        left_out=(
            Note("the picture is not there", tuple(absent)),
            without_picture(outlined, table),
        ),
        is_lenient=True,
    )


def _patients(source: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return each picture's patient, name and record, by the picture's name."""
    patients = {}
    for path in files_in(source, "**/*.json"):
        try:
            records = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ManifestError(f"{path}: cannot read the records: {error}") from error
        if isinstance(records, dict):
            records = records.get("info", records)
        for name, record in records.items() if isinstance(records, dict) else ():
            images = record.get("images") if isinstance(record, dict) else None
            for image in images if isinstance(images, list) else ():
                patients[Path(_unicode(image)).stem] = (_unicode(name), record)
    return patients


def _unicode(text: object) -> str:
    """Return a text without the halves of characters that JSON allows."""
    return str(text).encode(errors="replace").decode().strip()


def _cells(name: str, record: dict[str, Any]) -> Row:
    nodules = [
        nodule
        for key, nodule in record.items()
        if key.startswith("nodule") and isinstance(nodule, dict) and nodule
    ]
    diagnoses = {_diagnosis(nodule) for nodule in nodules}
    grades = {str(nodule.get("TIRADS")).strip().lower() for nodule in nodules}
    grade = grades.pop() if len(grades) == 1 else None
    return {
        "patient_id": name,
        "malignant": diagnoses.pop() if len(diagnoses) == 1 else None,
        "tirads": grade if grade in TIRADS else None,
        "sex": SEXES.get(str(record.get("gender"))),
        "age": as_age(str(record.get("age"))),
    }


def _diagnosis(nodule: dict[str, Any]) -> str | None:
    """Return the label of "Malignant (Histopathology) - 6" and the like.

    Histology goes before the conclusion, which may rest on cytology.
    """
    for key in ("Histopathology", "Conclusion"):
        words = str(nodule.get(key)).lower().split()
        if words and words[0] in DIAGNOSES:
            return DIAGNOSES[words[0]]
    return None
