"""The walk-through of docs/deploy.md, run as it is printed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from thyroid_fl.settings import Study
from thyroid_fl.tasks import build_model
from thyroid_fl.weights import model_shapes

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
HOME = "/home/you"
PORT = "18000"
MARK = "=== command "
PATIENCE_S = 900
# What differs from run to run, and from machine to machine.
VARIES = (
    (r"SHA256:[\w+/]{43}", "KEY"),
    (r"\b[0-9a-f]{16,}\b", "HASH"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?(,\d+)?", "TIME"),
    (r"process \d+", "process N"),
    (r"((?:[-_]|\b)(?:loss|auc|sum|variance|norm|seconds|rate)\b(?: =)?) [\d.e-]+",
     r"\1 X"),
    (r"= nan", "= X"),
    (r"best round \d|round \d, evaluate.test", "ROUND"),
)  # fmt: skip


def commands(heading):
    """Return the commands below a heading, each with the lines that it prints."""
    section = PAGE.read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif line.startswith("> "):
                before, printed = found.pop()
                found.append((f"{before}\n{line.removeprefix('> ')}", printed))
            else:
                found[-1][1].append(line)
    return found


def same(lines):
    """Return what was printed without what varies."""
    text = "\n".join(lines)
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text


def expected(lines):
    """Return a pattern of what a command prints; a line of dots is any lines."""
    pattern = ""
    for number, line in enumerate(same(lines).split("\n")):
        end = "\n" if number else ""
        pattern += r"[\s\S]*?" if line == "..." else end + re.escape(line)
    return pattern


def free_port(port_of):
    """Return the page's port, or another one if it is taken."""
    taken = {c.laddr.port for c in psutil.net_connections("inet4") if c.laddr}
    return str(port_of()) if int(PORT) in taken else PORT


def left_running(folder):
    """Return the processes that belong to a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(
            str(folder) in str(part)
            for part in [process.info["cwd"], *(process.info["cmdline"] or [])]
        )
    ]


@pytest.fixture(scope="module")
def walk(tmp_path_factory, port_of):
    """Run all commands in one bash; return the folder and what each printed."""
    home = tmp_path_factory.mktemp("home")
    port = free_port(port_of)
    steps = commands("## Try it on one machine")
    lines = []
    for number, (command, _) in enumerate(steps):
        lines += [f"echo '{MARK}{number}'", command.replace(PORT, port)]
    script = home / "walk.sh"
    script.write_text("\n".join(lines) + "\n")
    programs = Path(sys.executable).parent
    bash = subprocess.Popen(
        ["bash", script], cwd=home, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    try:
        said, _ = bash.communicate(timeout=PATIENCE_S)
        left = left_running(home)
    finally:
        for process in left_running(home):
            process.send_signal(signal.SIGKILL)
    printed = said.replace(str(home), HOME).replace(port, PORT)
    parts = re.split(rf"^{MARK}\d+\n", printed, flags=re.M)
    assert parts.pop(0) == ""
    return home / "thyroid-try", steps, parts, left


@pytest.mark.slow
def test_the_walkthrough_prints_what_the_page_shows(walk):
    _, steps, parts, _ = walk

    assert len(steps) == len(parts) > 20
    for (command, lines), printed in zip(steps, parts, strict=True):
        found = same(printed.splitlines())
        assert re.fullmatch(expected(lines), found), f"$ {command}\n{printed}"


@pytest.mark.slow
def test_the_walkthrough_leaves_a_model_of_the_study(walk):
    folder, *_ = walk

    model = load_file(folder / "centre/runs/first/model.safetensors")

    shapes = dict(model_shapes(build_model(Study(split="patient"))))
    assert {name: array.shape for name, array in model.items()} == shapes
    logs = [(folder / f"H00{n}.log").read_text() for n in (1, 2, 3)]
    assert not any("ended" in log for log in logs)


@pytest.mark.slow
def test_the_walkthrough_stops_what_it_started(walk):
    *_, left = walk

    assert left == []
