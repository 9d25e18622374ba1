"""Where a result comes from: versions, machine, data, time."""

import hashlib
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "thyroid-fl", "flwr", "torch", "torchvision", "numpy", "pandas", "scipy",
    "scikit-learn",
)  # fmt: skip


def provenance(manifest: Path, started: float) -> dict[str, Any]:
    """Return what one needs to repeat a run: JSON types only.

    Args:
        manifest: the table of pictures.
        started: seconds since the epoch.
    """
    return {
        "command": " ".join(sys.argv),
        "versions": {name: metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "device": torch.cuda.get_device_name()
            if torch.cuda.is_available()
            else "cpu",
            "system": platform.platform(),
        },
        "manifest_sha256": manifest_hash(manifest),
        "git_commit": _git_commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "seconds": round(time.time() - started, 1),
    }


def manifest_hash(manifest: Path) -> str:
    """Return the SHA-256 of the manifest's file, in hexadecimal."""
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    if lines.exists():
        for line in lines.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git_commit() -> str | None:
    """Return the commit of the source tree; None for an installed wheel."""
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
