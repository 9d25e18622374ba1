"""The messages that docs/deploy.md explains are those that the program prints."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "deploy.md").read_text().partition("\n## When ")[2]
# A cell may list several messages: `one` or `another`.
CELLS = re.findall(r"^\| (`.*?) \|", SECTION, re.M)
MESSAGES = [message for cell in CELLS for message in re.findall(r"`(.+?)`", cell)]


def texts():
    """Return all texts of the source, with a gap where a value is put in."""
    for folder in ("thyroid_fl", "strategies", "client", "server"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", None) for part in node.values]
                    yield "…".join(
                        part if isinstance(part, str) else "" for part in parts
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.sub(r"\{\w+\}", "…", node.value)


SAID = "\n".join(texts())


@pytest.mark.parametrize("message", MESSAGES)
def test_explained_messages_are_in_the_program(message):
    parts = [re.escape(part) for part in re.split(r" ?… ?", message) if part]

    assert re.search(".{0,12}…?.{0,12}".join(parts), SAID), message


def test_each_kind_of_message_is_explained():
    assert len(MESSAGES) > 40
