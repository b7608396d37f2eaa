"""The report in a real browser, without a network: on the screen and printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.report.write import write_report

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
]
PAPER = {"width": 680, "height": 990}
"""What A4 holds between the report's margins [CSS px]."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


@pytest.fixture
def page(recorded: Callable[..., Path], tmp_path: Path) -> Iterator[playwright.Page]:
    """The report of a session in a browser that is offline; it fails the test for any complaint or request."""
    write_report(recorded(), tmp_path / "r.html")
    said: list[str] = []
    address = (tmp_path / "r.html").as_uri()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(viewport=PAPER, offline=True)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("data:", address)) or said.append(r.url))
        page.goto(address)
        yield page
        browser.close()
    assert said == []


def clipped(page: playwright.Page) -> list[str]:
    """What of the drawings or tables lies outside of its drawing or of the page."""
    return page.evaluate(
        """() => {
            const out = [];
            const width = document.documentElement.clientWidth;
            for (const svg of document.querySelectorAll("svg[role=img]")) {
                const frame = svg.getBoundingClientRect();
                if (frame.width < 40 || frame.right > width + 1) out.push(svg.getAttribute("aria-label"));
                for (const part of svg.querySelectorAll("text, circle, rect, polyline")) {
                    const box = part.getBoundingClientRect();
                    if (box.left < frame.left - 1.5 || box.right > frame.right + 1.5
                        || box.top < frame.top - 1.5 || box.bottom > frame.bottom + 1.5)
                        out.push(svg.getAttribute("aria-label") + ": " + part.outerHTML);
                }
            }
            for (const table of document.querySelectorAll("table, h1, p"))
                if (table.getBoundingClientRect().right > width + 1) out.push(table.outerHTML.slice(0, 80));
            return out;
        }"""
    )


def test_it_opens_offline_and_all_is_within_the_page(page) -> None:
    assert page.locator("h2").count() == 11
    assert page.locator("svg[role=img]").count() >= 14
    loaded = "() => [...document.querySelectorAll('svg image')].every(i => i.getBBox().width > 0)"
    assert page.evaluate(loaded)
    assert clipped(page) == []
    page.set_viewport_size({"width": 420, "height": 800})
    page.locator("h1").wait_for()
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)
    assert clipped(page) == []


def test_it_prints(page, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    # What may not be parted must fit a page, else it is cut.
    tall = "() => Math.max(...[...document.querySelectorAll('figure')].map(f => f.getBoundingClientRect().height))"
    assert page.evaluate(tall) < PAPER["height"]
    colour = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    headings = page.locator("h2").all_inner_texts()
    printed = page.pdf(prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 2
    boxes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert {(round(float(w)), round(float(h))) for w, h in boxes} <= {(595, 842), (596, 842), (594, 841)}
    titles = {title.decode() for title in re.findall(rb"/Title \(([^)]*)\)", printed)}
    assert set(headings) <= titles
