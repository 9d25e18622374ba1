"""Readers: how pictures as a hospital or a publication has them become a manifest.

A reader takes the source's folder and returns an `Import`; it writes nothing. A new
format is one new file and one line here.
"""

from collections.abc import Callable
from pathlib import Path

from thyroid_fl.client.readers import busbra, ddti, folder
from thyroid_fl.client.readers.result import Import

FORMATS: dict[str, Callable[[Path], Import]] = {
    "busbra": busbra.read,
    "ddti": ddti.read,
    "folder": folder.read,
}
