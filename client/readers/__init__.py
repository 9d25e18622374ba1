"""Readers: how pictures as a hospital or a publication has them become a manifest.

A reader takes the source's folder and returns an `Import`; it writes nothing. A new
format is one new file and one line here.
"""

from collections.abc import Callable
from pathlib import Path

from thyroid_fl.client.readers import (
    auitd,
    breastmnist,
    busbra,
    busi,
    ddti,
    dicom,
    folder,
    stanford,
    thyroidxl,
    tn3k,
    tn5000,
    tnui,
)
from thyroid_fl.client.readers.result import Import

FORMATS: dict[str, Callable[[Path], Import]] = {
    "auitd": auitd.read,
    "breastmnist": breastmnist.read,
    "busbra": busbra.read,
    "busi": busi.read,
    "ddti": ddti.read,
    "dicom": dicom.read,
    "folder": folder.read,
    "stanford": stanford.read,
    "thyroidxl": thyroidxl.read,
    "tn3k": tn3k.read,
    "tn5000": tn5000.read,
    "tnui": tnui.read,
}
