"""A file is whole; a folder has one writer."""

import subprocess
import sys

import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import alone, write_whole


def test_a_file_is_as_before_until_it_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail(unfinished):
        unfinished.write_text("ne")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_whole(path, fail)

    assert path.read_text() == "old"
    write_whole(path, lambda unfinished: unfinished.write_text("new"))
    assert path.read_text() == "new"


def test_one_process_at_a_time(tmp_path):
    lock = tmp_path / ".lock"
    code = (
        "import sys, time, pathlib\nfrom thyroid_fl.files import alone\n"
        "with alone(pathlib.Path(sys.argv[1]), 1):\n"
        "    print('in', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, lock], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"

    with pytest.raises(ConfigError, match="another process works here"):
        alone(lock, 0.3).__enter__()

    other.kill()  # the system lets go of what a killed process held
    other.communicate()
    with alone(lock, 0.3):
        pass
