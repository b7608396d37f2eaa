"""The form of the page: sizes, looks, the reading mode, and what axe finds for those who do not see well."""

import io
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from dashboard.page import TABS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"),
]
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


def opened(page, url: str) -> None:
    page.goto(url)
    page.get_by_text("frame 1", exact=True).first.wait_for()


def violations(page) -> list[str]:
    """What axe says, a line for each element."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found for node in rule["nodes"]
    ]


def median(page) -> float:
    """The brightness of most of the page."""
    return float(np.median(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))))


def seen(page, look: str) -> None:
    page.wait_for_function("look => document.documentElement.dataset.look === look", arg=look)


def test_light_is_a_switch_that_is_remembered(page, live, serving) -> None:
    with serving(live.directory) as server:
        opened(page, server.url)
        assert median(page) < 60
        page.get_by_role("button", name="light").click()
        seen(page, "light")
        chart = page.locator(".counts .bk-Figure")
        for _ in range(60):  # the charts follow by way of the server
            shot = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("L"))
            if np.median(shot) > 200:
                break
            page.wait_for_timeout(100)
        assert np.median(shot) > 200
        assert shot.min() < 60  # the numbers behind the bars are dark now
        assert median(page) > 200
        page.reload()
        page.get_by_text("frame 1", exact=True).wait_for()
        assert median(page) > 200
        page.get_by_role("button", name="light").click()
        seen(page, "dark")


def test_the_far_end_of_the_room(page, live, serving) -> None:
    with serving(live.directory) as server:
        opened(page, server.url)
        page.keyboard.press("b")
        far = page.locator("#reading-fraction")
        far.wait_for()
        headline = page.locator(".big").inner_text().replace("\n", " ")
        assert far.inner_text().replace(" ", "") == headline.replace(" ", "")
        assert "95 %" in page.locator("#reading-interval").inner_text()
        assert "valid at every look" in page.locator("#reading-always").inner_text()
        live.analysed("yes", "yes", "yes", "yes")
        page.wait_for_function(
            "old => document.getElementById('reading-fraction').textContent !== old", arg=far.inner_text()
        )
        page.reload()
        far.wait_for()
        page.keyboard.press("Escape")
        far.wait_for(state="hidden")
        page.get_by_role("button", name="big").click()
        far.wait_for()
        page.get_by_role("button", name="close").first.click()
        far.wait_for(state="hidden")


@pytest.mark.parametrize("size", [(360, 740), (390, 844), (1280, 720), (1920, 1080), (3840, 2160)])
def test_nothing_reaches_beyond_the_window(page, live, serving, size) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with serving(live.directory) as server:
        opened(page, server.url)
        for name in ("now", *(tab.name for tab in TABS)):
            page.locator(f"[data-tab={name}]").click()
            page.wait_for_timeout(150)
            assert page.evaluate("() => document.documentElement.scrollWidth") == size[0], name
            box = page.locator(f"#tab-{name}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0] + 1
            assert box["height"] > 250


def test_tabs_by_keyboard(page, live, serving) -> None:
    with serving(live.directory) as server:
        opened(page, server.url)
        page.locator("#tab-of-now").focus()
        for tab in TABS:
            page.keyboard.press("ArrowRight")
            assert page.evaluate("() => document.activeElement.dataset.tab") == tab.name
            assert page.locator(f"#tab-{tab.name}").is_visible()
        page.keyboard.press("ArrowRight")
        assert page.locator("#tab-now").is_visible()


@pytest.mark.parametrize("look", ["dark", "light"])
def test_axe_finds_nothing_on_a_session(page, live, serving, look) -> None:
    live.alarm("drift")
    live.alarm("beam", "critical")
    with serving(live.directory) as server:
        opened(page, server.url)
        if look == "light":
            page.get_by_role("button", name="light").click()
            seen(page, "light")
            page.wait_for_timeout(1600)
        for name in ("now", *(tab.name for tab in TABS)):
            page.locator(f"[data-tab={name}]").click()
            page.wait_for_timeout(300)
            assert violations(page) == [], name


@pytest.mark.parametrize("look", ["dark", "light"])
def test_axe_finds_nothing_on_the_list(page, make_session, serving, tmp_path, look) -> None:
    for name in ("one", "two"):
        make_session(tmp_path / name).analysed("yes", "no")
    with serving(tmp_path) as server:
        page.goto(server.url)
        page.get_by_role("link", name="one", exact=True).wait_for()
        if look == "light":
            page.get_by_role("button", name="light").click()
            seen(page, "light")
        page.get_by_role("checkbox", name="compare one").click()
        page.get_by_text("Choose another session").wait_for()
        assert violations(page) == []
