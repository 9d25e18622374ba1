"""Both pages in a real browser: nothing fails, nothing is fetched, all can be seen."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.federation import write_federation_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Debian's chromium is not installed"
)
WIDTHS_PX = (1280, 390)
HIDDEN_FIGURES = """() => [...document.querySelectorAll("figure svg")].filter(svg => {
  const box = svg.getBoundingClientRect();
  const look = getComputedStyle(svg);
  return box.width < 50 || box.height < 50 || look.visibility != "visible";
}).map(svg => svg.closest("figure").ariaLabel)"""
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(element =>
  !element.closest(".scroll, svg")
  && element.getBoundingClientRect().right > innerWidth + 1
).map(element => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module", params=["comparison", "federation"])
def report(
    request: pytest.FixtureRequest, full_folder: Path, federation_folder: Path
) -> Path:
    if request.param == "comparison":
        return write_report(full_folder)
    return write_federation_report(federation_folder)


@pytest.fixture(params=WIDTHS_PX)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": request.param, "height": 800})
    yield found
    found.close()


def test_no_error_or_warning_and_no_request_outside_the_file(page: Page, report: Path):
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))

    page.goto(report.as_uri(), wait_until="networkidle")

    assert messages == []
    outside = [url for url in requests if not url.startswith("data:")]
    assert outside == [report.as_uri()]


def test_every_figure_can_be_seen(page: Page, report: Path):
    page.goto(report.as_uri())

    assert page.locator("figure svg").count() >= 5
    assert page.evaluate(HIDDEN_FIGURES) == []


def test_nothing_is_wider_than_the_screen_with_all_details_open(
    page: Page, report: Path
):
    page.goto(report.as_uri())

    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    assert page.evaluate(OUTSIDE) == []
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0


def test_the_letters_of_the_flow_chart_stay_in_their_boxes(page: Page, report: Path):
    page.goto(report.as_uri())
    svg = page.locator("figure svg").first

    frame = svg.bounding_box()
    texts = svg.locator("text").all()

    assert frame is not None
    assert len(texts) > 5
    for text in texts:
        box = text.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= frame["x"] + frame["width"], (
            text.text_content()
        )


def test_printed_it_has_all_details_and_the_last_section(
    browser: Browser, report: Path, tmp_path: Path
):
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (Debian's poppler-utils) is not installed")
    page = browser.new_page()
    page.goto(report.as_uri())
    hidden = page.locator("details:not([open]) summary").all_text_contents()
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    page.close()

    text = subprocess.run(
        ["pdftotext", str(tmp_path / "report.pdf"), "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    n_pages = text.count("\f")
    text = " ".join(text.split())
    assert 4 <= n_pages <= 60
    assert len(hidden) >= 3
    for inside in ("weight decay", "annotators", "funders", "27c"):
        assert inside in text, inside
    assert "no medical device" in text


def test_an_error_and_a_warning_would_be_noticed(browser: Browser, tmp_path: Path):
    messages: list[str] = []
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.warn('w'); throw Error('e')</script>")
    page = browser.new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))

    page.goto(bad.as_uri())
    page.close()

    assert messages == ["w", "e"]
