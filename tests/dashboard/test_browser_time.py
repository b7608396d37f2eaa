"""Moving in time, the strip charts and the tables by size and field, by mouse and by key, in a real browser."""

import json
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"),
]


@pytest.fixture
def recorded(live):
    """Eight frames half a second apart, one field each, with stage positions and an alarm."""
    now = time.time() - 60
    live.clock = lambda: now
    live.db.execute("UPDATE statistics SET at = ?", (now,))
    live.place(1)
    for number in range(2, 9):
        now += 0.5
        told = {"mean_counts": 400.0 + number, "information_limit_per_nm": 9.0}
        frame = live.analysed("yes" if number % 2 else "no", "no", "no", quality=told)
        live.place(frame, frame, drift_nm=6.0 if number == 5 else 0.2)
    live.alarm("stage drift", cause="The stage drifts.")
    live.db.execute("UPDATE frames SET metadata = ?", (json.dumps({"stage_x_um": 3.0, "stage_y_um": 4.0}),))
    live.db.execute("PRAGMA user_version = 4")
    return live


def shown(page, number: int) -> None:
    page.get_by_text(f"frame {number}", exact=True).wait_for()


def click_in(page, chart: str, share: float) -> None:
    """Click into a chart's plot, this share of its width from the left end of its axis."""
    box = page.evaluate(
        """name => { const view = Bokeh.index.find_one_by_id(Bokeh.documents[0].get_model_by_name(name).id);
        view.el.scrollIntoView({ block: "center" });
        const at = view.el.getBoundingClientRect(), inner = view.frame.bbox;
        return [at.x + inner.x, at.y + inner.y, inner.width, inner.height]; }""",
        chart,
    )
    page.mouse.click(box[0] + share * box[2], box[1] + box[3] / 2)


def test_keys_and_buttons_move_in_time_and_the_figures_are_those_of_then(page, recorded, serving) -> None:
    with serving(recorded.directory) as server:
        page.goto(server.url)
        shown(page, 8)
        now = page.locator(".big").inner_text()
        for number in (7, 6, 5):
            page.keyboard.press("ArrowLeft")
            shown(page, number)
            page.get_by_text(f"as of frame {number}, not now").wait_for()
        assert page.locator(".big").inner_text() != now
        page.keyboard.press("ArrowRight")
        shown(page, 6)
        page.keyboard.press("l")
        shown(page, 8)
        page.get_by_text("as of frame").wait_for(state="detached")
        assert page.locator(".big").inner_text() == now

        click_in(page, "fraction_chart", 0.44)
        page.get_by_text("as of frame 4, not now").wait_for()
        page.get_by_role("button", name="return to now").click()
        shown(page, 8)

        page.get_by_role("button", name="10×").click()
        page.locator("body").click(position={"x": 2, "y": 2})
        page.keyboard.press(" ")  # from live: from the first frame
        page.get_by_role("button", name="pause").wait_for()
        page.get_by_role("button", name="play").wait_for()  # it has come to the end
        shown(page, 8)
        assert not page.get_by_text("looking back").count()

        page.get_by_role("button", name="1×", exact=True).click()
        page.get_by_role("button", name="play").click()
        shown(page, 2)
        page.get_by_role("button", name="pause").click()
        page.get_by_role("button", name="play").wait_for()
        stays = page.locator(".number").inner_text()
        page.wait_for_timeout(1200)
        assert page.locator(".number").inner_text() == stays


def test_keys_belong_to_whatever_has_the_focus(page, recorded, serving) -> None:
    with serving(recorded.directory) as server:
        page.goto(server.url)
        shown(page, 8)
        page.get_by_role("tab", name="now").focus()
        page.keyboard.press("ArrowRight")  # among the tabs
        page.get_by_role("tab", name="now", selected=False).wait_for()
        page.get_by_role("tab", name="now").click()
        page.get_by_label("goal: half width of the interval [%]", exact=True).focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("l")
        page.wait_for_timeout(600)
        shown(page, 8)
        assert not page.get_by_text("looking back").count()


@pytest.mark.parametrize("size", [(390, 844), (1280, 800), (1920, 1080)])
def test_quality_and_fields_at_every_size(page, recorded, serving, size) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with serving(recorded.directory) as server:
        page.goto(server.url)
        shown(page, 8)
        page.get_by_role("tab", name="quality").click()
        page.get_by_text("1 alarm, 1 on").wait_for()
        assert page.get_by_text("information limit").first.is_visible()
        page.get_by_role("button", name="by time").last.click()
        page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('quality_source').data.x[7] < 1.5")
        # The axis follows its data only when it is drawn again.
        page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('quality_drift').x_range.end < 2")
        click_in(page, "quality_drift", 0.53)  # about where the stage drifted, frame 5 of 8
        page.get_by_text("looking back").wait_for()
        assert int(page.locator(".number").inner_text().split()[1]) in (4, 5, 6)

        page.get_by_role("tab", name="by size and field").click()
        page.get_by_role("button", name="3", exact=True).click()
        shown(page, 3)
        page.get_by_text("colour: fraction as counted").wait_for()
        page.get_by_text("This session alone is served").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for name in ("play", "● live"):
            assert page.get_by_role("button", name=name).is_visible()
        box = page.get_by_role("slider").first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= size[0]


def test_another_session_is_chosen(page, recorded, make_session, serving, tmp_path) -> None:
    other = make_session(tmp_path / "yesterday", at=time.time)
    other.place(other.analysed("yes", "no", "no"))
    other.db.execute("PRAGMA user_version = 4")
    with serving(tmp_path) as server:
        page.goto(f"{server.url}session?session=tonight#fields")
        page.get_by_label("another session to compare with").select_option("yesterday")
        page.get_by_text("difference").wait_for()
        assert page.get_by_text("holds 0").count()
