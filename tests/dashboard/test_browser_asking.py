"""What is asked on the page in a real browser: alarms acknowledged, particles labelled, goals chosen."""

import io
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bundle import SHIPPED
from models.results import Analysis, Particle
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"),
]


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def state(page) -> str:
    return page.locator("#state").get_attribute("data-state")


def sideways(page, selector: str) -> bool:
    """Whether an element is wider than its place on the page, or reaches out of the window."""
    return page.locator(selector).evaluate(
        "e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > window.innerWidth + 1"
    )


def test_an_alarm_is_acknowledged(page, live, serving) -> None:
    nasty = '<img src=x onerror="window.hit = 1">'
    number = live.alarm("drift too fast", cause=f"The specimen moved. {nasty}")
    with serving(live.directory) as server:
        page.goto(server.url)
        button = page.get_by_role("button", name="acknowledge: drift too fast")
        button.wait_for()
        page.wait_for_function("() => document.getElementById('state').dataset.state === 'warning'")
        assert "Drift too fast since" in page.locator("#status").inner_text()
        button.click()
        until(live.asked)
        assert live.asked() == [("acknowledge", {"alarm": number}, None)]
        live.carry_out()
        page.get_by_text("✓ acknowledged").wait_for()
        page.wait_for_function("() => document.getElementById('state').dataset.state !== 'warning'")
        assert page.evaluate("() => window.hit") is None


def test_a_sound_is_heard_for_a_new_alarm_where_it_was_switched_on(page, live, serving) -> None:
    page.add_init_script(
        "window.beeps = 0; const start = OscillatorNode.prototype.start;"
        "OscillatorNode.prototype.start = function () { window.beeps += 1; return start.apply(this, arguments); };"
    )
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 1", exact=True).wait_for()
        live.alarm("charging")
        page.get_by_role("button", name="acknowledge: charging").wait_for()
        assert page.evaluate("() => window.beeps") == 0
        page.get_by_role("button", name="sound is off").click()
        page.get_by_role("button", name="sound is on").wait_for()
        assert page.evaluate("() => window.beeps") == 1  # how it sounds
        live.alarm("beam lost", "critical")
        page.wait_for_function("() => window.beeps === 2")
        live.alarm("blank field", "notice")
        page.get_by_role("button", name="acknowledge: blank field").wait_for()
        assert page.evaluate("() => window.beeps") == 2


def test_a_frame_that_is_not_counted_says_why(page, live, serving) -> None:
    live.place(live.analysed("yes"), 2, drift_nm=0.37, uncounted="beam lost: no electrons")
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("not counted: beam lost: no electrons").wait_for()
        page.get_by_text("field 2 · drift 0.37 nm").wait_for()


def test_another_goal_gives_another_answer(page, live, serving) -> None:
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("± 5%").wait_for()
        field = page.locator("input[type=text]:not(#observer)").last
        field.fill("20")
        field.press("Enter")
        page.get_by_text("± 20%").wait_for()


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_an_audit_with_keys_and_buttons_and_undo(page, live, serving, size) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    live.place(1)
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_role("button", name="Audit 20").click()
        until(live.asked)
        live.carry_out()
        page.get_by_text("1 of 4", exact=True).wait_for()
        assert page.get_by_role("button", name="yes").is_disabled()
        assert not page.locator("main .bk-Figure:visible").is_visible()  # it tells what the model said
        page.locator("#observer").fill("Ada <b>")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="4 yes").and_(page.locator(":enabled")).wait_for()
        picture = page.locator(".crop img")
        until(lambda: picture.evaluate("image => image.complete && image.naturalWidth > 20"))
        assert not sideways(page, "#audit")
        for selector in (".sitting", ".asked", ".crop"):
            assert not sideways(page, selector)
        page.keyboard.press("4")
        page.get_by_text("2 of 4", exact=True).wait_for()
        page.get_by_role("button", name="3 no").click()
        page.get_by_text("3 of 4", exact=True).wait_for()
        until(lambda: len(live.asked()) == 3)
        live.carry_out()
        page.keyboard.press("u")
        until(lambda: len(live.asked()) == 4)
        live.carry_out()
        page.get_by_text("2 of 4", exact=True).wait_for()
        page.keyboard.press("s")
        page.keyboard.press("Escape")
        page.locator("#audit").wait_for(state="hidden")
        classes = [(told["observer"], told["class"]) for name, told, _ in live.asked() if name == "label"]
        assert classes == [("Ada <b>", "yes"), ("Ada <b>", "no"), ("Ada <b>", None)]
        page.reload()
        assert page.locator("#observer").input_value() == "Ada <b>"


@pytest.mark.parametrize(
    "selector", [".page", "#sound", ".alarm", "footer > .panel:first-child", ".fraction"]
)
def test_nothing_is_cut_in_a_narrow_window(page, live, serving, selector) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    live.alarm("model unlike these frames", cause="A long sentence with figures and reasons. " * 3)
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 1", exact=True).wait_for()
        page.get_by_role("button", name="acknowledge").wait_for()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert not sideways(page, selector)


# -- with the session's own side -----------------------------------------------------------------------------


def found(number: int) -> FinishedFrame:
    """A frame with six particles far from one another, as a worker gives it."""
    kinds = (("yes", (0.05, 0.05, 0.1, 0.8)), ("no", (0.05, 0.05, 0.8, 0.1)))
    particles = tuple(
        Particle(
            label=label,
            particle_class=kinds[label % 2][0],
            probabilities=kinds[label % 2][1],
            abstained=False,
            bbox=(150 * label, 100 + 40 * label, 150 * label + 60, 160 + 40 * label),
            centroid=(150.0 * label + 30, 130.0 + 40 * label),
            diameter_nm=3.0,
            area_nm2=7.07,
            outline=((150.0 * label, 100.0), (150.0 * label, 160.0), (150.0 * label + 60, 130.0)),
            features={},
        )
        for label in range(1, 7)
    )
    preview = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (256, 256), np.uint8)).save(
        preview, "JPEG"
    )
    analysis = Analysis((1100, 1100), 0.05, particles, {"moved": number}, {"read": 1.0}, "b", "cpu")
    return FinishedFrame(analysis, finished=time.time(), preview=preview.getvalue())


def test_labels_move_the_estimate_of_a_session(page, serving, tmp_path) -> None:
    folder = tmp_path / "tonight"
    details = json.loads((SHIPPED / "bundle.json").read_text())
    with RecordWriter(folder) as record:
        record.add_bundle("b", SHIPPED, details)
        record.add_source("list", "list", time.time())
        statistics = RunningStatistics(record, Estimator(details), time.monotonic)
        for number in range(1, 5):
            record.take(1, FrameRef(Path(f"/{number}"), 0, acquired=1000.0 * number), at=time.time())
            order = record.finish(number, 0, found(number), time.time)
            assert order is not None
            statistics.add(order)
        statistics.settle(final=True)

        def figures() -> tuple[float, int]:
            with sqlite3.connect(folder / "session.sqlite") as db:
                last = db.execute("SELECT corrected, labels FROM statistics ORDER BY position DESC LIMIT 1")
                return last.fetchone()

        before = figures()
        with serving(folder) as server:
            page.goto(server.url)
            page.get_by_role("button", name="Audit 20").click()
            until(lambda: statistics.carry_out(time.time()))
            page.locator("#observer").fill("Ada")
            page.keyboard.press("Enter")
            (drawn,) = record._db.execute("SELECT count(*) FROM labels").fetchone()
            assert drawn >= 6
            for number in range(drawn):
                page.get_by_text(f"{number + 1} of {drawn}", exact=True).wait_for()
                page.get_by_role("button", name="3 no").click()
                until(lambda: statistics.carry_out(time.time()))
            page.get_by_text(f"All {drawn} drawn particles are labelled").wait_for()
            after = figures()
            assert after[1] == drawn
            assert after[0] < before[0] - 0.05  # all of them said to hold no fault
            page.get_by_text(f"The fraction was {100 * before[0]:.1f} %").wait_for()
            page.get_by_text(f"it is {100 * after[0]:.1f} %").wait_for()
