"""Ultrasound as DICOM: pictures and clips as a scanner or an archive exports them.

Every file of the folder is tried, whatever its name. Only pixels and a few values
(`thyroid_fl.client.dicom.scan`) cross; patients and pictures get pseudonyms. Pathology
may stand in a ``labels.csv`` (`thyroid_fl.client.readers.labels`).
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from thyroid_fl.client.dicom.frame import read_frame
from thyroid_fl.client.dicom.scan import Scan, read_scan
from thyroid_fl.client.pseudonyms import key_path, pseudonym, site_key
from thyroid_fl.client.readers.labels import read_labels
from thyroid_fl.client.readers.published import as_notes, of_files, without
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.columns import LINE
from thyroid_fl.errors import ManifestError

FRAME_MS = 1000
"""Of a clip one frame in this time is taken: neighbours are nearly the same."""
UNKNOWN_FRAME_MS = 1000 / 30
"""Taken to lie between two frames where a clip does not tell."""


def read(source: Path) -> Import:
    """Return the ultrasound pictures that lie in a folder, clips thinned out.

    Raises:
        ConfigError: the key for pseudonyms cannot be used.
        ManifestError: there is no usable picture, or labels.csv has faults.
    """
    labels = read_labels(source / "labels.csv")
    scans, left_out = _scans(source)
    key = site_key(key_path())
    rows = []
    drawn: dict[str, Callable[[], Image.Image]] = {}
    doubts = defaultdict[str, list[str]](list)
    skipped: list[str] = []
    for path, scan in scans.items():
        for i in range(scan.n_frames):
            name = _name(scan, i, key)
            if i % _step(scan):
                skipped.append(name)
                continue
            rows.append(_row(scan, i, key))
            drawn[f"{name}.png"] = partial(read_frame, path, i, scan.box, scan.decoder)
            for reason in _doubts(scan):
                doubts[reason].append(name)
    thinned = Note("of a clip, one frame a second is taken", tuple(skipped), "frame")
    found = Import(
        rows=pd.DataFrame(rows, dtype="str"),
        table=source,
        warned=as_notes(doubts),
        left_out=(*left_out, thinned),
        drawn=drawn,
        is_lenient=True,  # nobody can mend what a scanner wrote
    )
    return _labelled(found, labels)


def _labelled(found: Import, labels: pd.DataFrame) -> Import:
    """Return the import with labels instead of the Patient ID, sorted by pseudonym.

    The files may be in the order of the patients' names.
    """
    rows = found.rows.join(labels, on="PatientID")
    rows = rows.sort_values(["patient_id", "image_id"])
    rows.index = pd.RangeIndex(2, len(rows) + 2, name=LINE)
    no_id = "there is no Patient ID: each study counts as its own patient"
    no_label = "labels.csv tells no pathology of the patient; malignant stays empty"
    no_picture = "no picture is of the patient that labels.csv names"
    nobodys = labels[LINE][~labels.index.isin(rows["PatientID"])]
    return replace(
        found,
        rows=rows.drop(columns=["PatientID", LINE]),
        mended=(
            Note.of(no_id, rows[rows["PatientID"].isna()]),
            without(rows, "malignant", no_label),
        ),
        warned=(*found.warned, Note(no_picture, tuple(nobodys), "line")),
    )


def _scans(source: Path) -> tuple[dict[Path, Scan], tuple[Note, ...]]:
    """Return what the files tell, and the account of those that are left out.

    Raises:
        ManifestError: none is usable.
    """
    scans: dict[Path, Scan] = {}
    reasons = defaultdict[str, list[Path]](list)
    instances = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about oddities that it gets over
        for path in sorted(source.rglob("*")):
            if not path.is_file() or path == source / "labels.csv":
                continue
            scan = read_scan(path)
            if isinstance(scan, Scan) and scan.instance in instances:
                scan = "it is a copy: an earlier file has its SOP Instance UID"
            if isinstance(scan, Scan):
                scans[path] = scan
                instances.add(scan.instance)
            else:
                reasons[scan].append(path)
    left_out = [of_files(reason, paths, source) for reason, paths in reasons.items()]
    if not scans:
        listed = [f"{len(note.image_ids)} because {note.reason}" for note in left_out]
        raise ManifestError(
            f"{source}: no usable ultrasound picture; expected DICOM files; left out: "
            f"{'; '.join(listed) or 'no file'}"
        )
    return scans, tuple(left_out)


def _row(scan: Scan, index: int, key: bytes) -> Mapping[str, object]:
    """Return the cells of a frame, and the Patient ID, which does not cross."""
    known, unknown = ("patient", scan.patient, scan.issuer), ("study", scan.study)
    whose = pseudonym(key, *(known if scan.patient else unknown))
    name = _name(scan, index, key)
    return {
        "PatientID": scan.patient or None,
        "image_id": name,
        "patient_id": f"P{whose}",
        "image": f"{name}.png",
        "vendor": scan.vendor,
        "device": scan.device,
        "sex": scan.sex,
        "age": scan.age,
        "frame": index if scan.n_frames > 1 else None,
        "pixel_mm": scan.pixel_mm,
    }


def _name(scan: Scan, index: int, key: bytes) -> str:
    """Return the image_id of a frame."""
    name = f"I{pseudonym(key, 'picture', scan.instance)}"
    return f"{name}-{index:04}" if scan.n_frames > 1 else name


def _step(scan: Scan) -> int:
    """Return how many frames lie between two that are taken, and one."""
    return max(1, round(FRAME_MS / (scan.frame_ms or UNKNOWN_FRAME_MS)))


def _doubts(scan: Scan) -> Iterator[str]:
    """Yield why a person should look at a scan's pictures."""
    if scan.box is None and scan.is_burnt_in is False:
        yield "the region of the scan is not known; by the file, no text is burnt in"
    elif scan.box is None:
        yield "the region of the scan is not known: text at the margin may remain"
    elif scan.box[1] == 0:
        yield "the region of the scan reaches the upper edge, where names often stand"
    elif scan.is_burnt_in:
        yield "the file says that text is burnt in: it may lie within the scan, too"
    if scan.has_colour:
        yield "colour Doppler is drawn over the scan; here it is grey"
