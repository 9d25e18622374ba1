"""Pages of the centre: one HTML file that needs nothing outside itself."""

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup


def write_page(template: str, path: Path, contents: Mapping[str, object]) -> Path:
    """Write a page by a template of this folder, in one step; return its path.

    Everything is escaped but what is `Markup`; a name that the contents lack is an
    error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["zip"] = zip
    html = environment.get_template(template).render(contents)
    partial = path.with_suffix(".partial")
    partial.write_text(html, encoding="utf-8")
    return partial.replace(path)


def inline(path: Path, prefix: str) -> Markup:
    """Return an SVG file for use within HTML; its ids are unique by the prefix."""
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]  # without XML declaration and DOCTYPE
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-{path.stem}-", svg)
    return Markup(svg)  # our own figure; names in it were escaped by matplotlib
