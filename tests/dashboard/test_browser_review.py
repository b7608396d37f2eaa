"""Review, refit and settings in a real browser: keys and buttons, what is asked, what is shown."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from models.bundle import SHIPPED, describe
from models.examples.rows import Rows, rows_file, save_rows
from models.results import CLASSES
from models.training.derive import derive
from models.training.forest_file import new_forest, save_forest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"),
]
SIZES = [(390, 844), (1280, 720), (1920, 1080)]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def sideways(page, selector: str) -> bool:
    """Whether an element is wider than its place on the page, or reaches out of the window."""
    return page.locator(selector).first.evaluate(
        "e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > window.innerWidth + 1"
    )


@contextmanager
def answered(session) -> Iterator[None]:
    """Answer what is asked, as a session that runs does."""
    done = Event()

    def answer() -> None:
        while not done.wait(0.05):
            session.carry_out()

    thread = Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def placed(live):
    """Four tracks, of which the second is the closest to call, then the fourth."""
    live.place(1)
    shares = ((0.1, 0.1, 0.1, 0.7), (0.1, 0.1, 0.41, 0.39), (0.1, 0.6, 0.2, 0.1), (0.1, 0.1, 0.5, 0.3))
    for number, each in enumerate(shares, 1):
        live.db.execute(
            "UPDATE tracks SET p_empty = ?, p_null = ?, p_no = ?, p_yes = ? WHERE id = ?", (*each, number)
        )
    return live


def told(session) -> list[tuple]:
    return [(name, arguments) for name, arguments, _ in session.asked()]


def test_review_by_keys_relabel_move_undo_false_and_missed(page, placed, serving) -> None:
    ada = {"frame": 1, "observer": "Ada"}
    with serving(placed.directory) as server, answered(placed):
        page.goto(f"{server.url}#review")
        page.get_by_text("the sample for the fraction").wait_for()
        page.locator("#review-name").fill("Ada")
        page.keyboard.press("Enter")
        page.keyboard.press("l")
        page.get_by_text("1 of 4 most doubtful").wait_for()
        page.get_by_role("button", name="4 yes").and_(page.locator(":enabled")).wait_for()
        picture = page.locator(".seen img")
        until(lambda: picture.evaluate("image => image.complete && image.naturalWidth > 20"))
        page.keyboard.press("4")
        page.get_by_text("2 of 4 most doubtful").wait_for()
        until(lambda: picture.evaluate("image => image.complete && image.naturalWidth > 20"))
        page.keyboard.press("f")
        page.get_by_text("3 of 4 most doubtful").wait_for()
        assert told(placed) == [
            ("correct", {**ada, "label": 2, "class": "yes"}),
            ("correct", {**ada, "label": 4, "class": "empty"}),
        ]
        page.keyboard.press("u")
        page.get_by_text("2 of 4 most doubtful").wait_for()
        page.keyboard.press("u")  # the same key once more
        page.get_by_text("1 of 4 most doubtful").wait_for()
        assert [arguments["class"] for _, arguments in told(placed)][2:] == [None, None]
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.get_by_text("3 of 4 most doubtful").wait_for()
        page.keyboard.press("ArrowLeft")
        page.get_by_text("2 of 4 most doubtful").wait_for()
        page.keyboard.press("m")
        place = page.locator(".mark-here")
        place.wait_for()
        page.locator("#review-diameter").fill("3.5")
        box = place.bounding_box()
        place.click(position={"x": 0.05 * box["width"], "y": 0.95 * box["height"]})
        page.get_by_text("3.5 nm · Ada").wait_for()
        name, mark = told(placed)[-1]
        assert name == "missed"
        assert (mark["row"], mark["col"]) == (pytest.approx(380, abs=3), pytest.approx(20, abs=3))
        page.get_by_role("button", name="take back the mark").click()
        page.get_by_text("3.5 nm · Ada").wait_for(state="detached")
        page.get_by_role("button", name="2 null").click()
        page.get_by_text("3 of 4 most doubtful").wait_for()
        assert told(placed)[-1] == ("correct", {**ada, "label": 4, "class": "null"})


def test_the_sample_opens_the_blind_audit(page, placed, serving) -> None:
    with serving(placed.directory) as server, answered(placed):
        page.goto(f"{server.url}#review")
        page.get_by_role("button", name="draw 20 particles").click()
        page.get_by_role("button", name="label the sample").click()
        page.locator("#audit").wait_for(state="visible")
        page.get_by_text("1 of 4", exact=True).wait_for()
        page.keyboard.press("Escape")
        page.locator("#observer").blur()


@pytest.mark.parametrize("size", SIZES)
def test_the_tabs_fit(page, placed, serving, size) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with serving(placed.directory) as server:
        page.goto(f"{server.url}#review")
        page.get_by_role("button", name="later").click()
        page.get_by_text("1 of 4 most doubtful").wait_for()
        for tab, words in (
            ("review", "what counts for what"),
            ("refit", "Now judges"),
            ("settings", "can be changed"),
        ):
            page.locator(f"[data-tab={tab}]").click()
            page.get_by_text(words).wait_for()
            assert page.evaluate("() => document.documentElement.scrollWidth") == size[0]
            assert not sideways(page, f"#tab-{tab}")


def test_settings_are_changed(page, placed, serving) -> None:
    with serving(placed.directory) as server, answered(placed):
        page.goto(f"{server.url}#settings")
        page.get_by_role("button", name="set: goal").click()
        page.get_by_text("Give your name first").wait_for()
        page.locator("#tab-settings .observer-name").fill("Ada")
        page.keyboard.press("Enter")
        page.locator("#set-goal").fill("12")
        page.get_by_role("button", name="set: goal").click()
        page.get_by_text("± 12 % · after frame 1 · Ada").wait_for()
        page.get_by_label("charging").uncheck()
        page.get_by_role("button", name="set: quality gate").click()
        page.get_by_text("beam lost, out of focus, blank field · after frame 1").wait_for()
        page.locator("#set-material").select_option("Au")
        page.get_by_role("button", name="set: material").click()
        page.get_by_text("Au · after frame 1 · Ada").wait_for()
        page.locator("#set-abstain_below").fill("0.8")
        page.get_by_role("button", name="set: abstaining threshold").click()
        page.get_by_text("0.8 · after frame 1 · Ada").wait_for()
        assert [(arguments["name"], arguments["value"]) for _, arguments in told(placed)] == [
            ("goal", 0.12),
            ("not_counted", ["beam lost", "out of focus", "blank field"]),
            ("material", "Au"),
            ("abstain_below", 0.8),
        ]
        page.locator("[data-tab=now]").click()
        page.get_by_text("± 12%").wait_for()


# -- with a real small forest ---------------------------------------------------------------------------------

NAMES = list(describe(SHIPPED)[1]["features"])


@pytest.fixture
def refittable(live, tmp_path):
    """A session of a small bundle: Ada corrected what it takes for `no`."""
    rng = np.random.default_rng(1)
    classes = np.arange(160) % 4
    features = rng.normal(0, 1, (160, len(NAMES))).astype(np.float32)
    features[:, 0] = 3 * classes + rng.normal(0, 0.5, 160)
    group = np.array([f"s{n // 8}" for n in range(160)])
    columns = group, group, np.full(160, 300.0), np.full(160, "a"), np.full(160, 4.0), np.full(160, "train")
    rows = Rows(features, classes, *columns, np.ones(160, bool), NAMES)
    forest = new_forest(10, 1).fit(features, classes)
    save_forest(forest, tmp_path)
    small = tmp_path / "small"
    figures = {"forest": {"trees": 10, "seed": 1, "regions": 160, "importance": {}}}
    derive(SHIPPED, small, forest=tmp_path, provenance={}, figures=figures)
    save_rows(rows_file(small), rows, rows.of(np.arange(160) < 80))
    name, details = describe(small)
    live.analysed("no", "no", "no")
    live.place(1)
    live.place(2)
    live.db.execute("INSERT INTO bundles VALUES (?, ?, ?)", (name, str(small), json.dumps(details)))
    live.db.execute("UPDATE meta SET value = ? WHERE key = 'bundle'", (name,))
    live.db.execute("UPDATE results SET bundle = ?", (name,))
    for number, frame, label in live.db.execute("SELECT id, frame_id, label FROM particles").fetchall():
        values = dict(
            zip(NAMES, [3.0 * CLASSES.index("no"), 9.0, *rng.normal(0, 1, len(NAMES) - 2)], strict=True)
        )
        live.db.execute("UPDATE particles SET features = ? WHERE id = ?", (json.dumps(values), number))
        arguments = {"frame": frame, "label": label, "class": "yes", "observer": "Ada"}
        live.db.execute(
            "INSERT INTO commands (at, name, arguments, accepted) VALUES (1, 'correct', ?, 1)",
            (json.dumps(arguments),),
        )
    return live, name


def test_a_refit_is_made_cancelled_promoted_and_taken_back(page, refittable, serving) -> None:
    live, name = refittable
    with serving(live.directory) as server, answered(live):
        page.goto(f"{server.url}#refit")
        page.locator("#tab-refit .observer-name").fill("Ada")
        page.keyboard.press("Enter")
        page.get_by_text("7 corrections to learn from").wait_for()
        page.get_by_role("button", name="refit the forest").click()
        page.get_by_role("button", name="cancel").click()
        page.get_by_text("▲ cancelled").wait_for(timeout=60_000)
        page.get_by_role("button", name="refit the forest").click()
        page.get_by_text("in shadow: ").wait_for(timeout=200_000)
        page.get_by_text("On this session").wait_for(timeout=100_000)
        page.get_by_text("macro-F1").first.wait_for()
        page.get_by_role("button", name="promote: it").click()
        page.get_by_text("It judges this session.").wait_for(timeout=30_000)
        classes = live.db.execute("SELECT DISTINCT class FROM particles").fetchall()
        assert classes == [("yes",)]
        page.get_by_role("button", name="take back").click()
        page.get_by_role("button", name="promote: it").wait_for(timeout=30_000)
        assert live.db.execute("SELECT DISTINCT bundle FROM results").fetchall() == [(name,)]


def test_a_recorded_session_is_reviewed_without_a_session(page, refittable, serving, tmp_path) -> None:
    live, _ = refittable
    live.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    live.db.execute("PRAGMA user_version = 4")
    folder = tmp_path / "recorded"
    shutil.copytree(live.directory, folder)
    with serving(folder) as server:
        page.goto(f"{server.url}#review")
        page.locator("#review-name").fill("Ada")
        page.keyboard.press("Enter")
        page.keyboard.press("l")
        page.get_by_text("No particle is doubtful").wait_for()  # all were corrected
        page.get_by_role("button", name="later").wait_for(state="detached")
        page.locator("[data-tab=settings]").click()
        page.locator("#set-goal").fill("9")
        page.get_by_role("button", name="set: goal").click()
        page.get_by_text("± 9 %").wait_for()
        with sqlite3.connect(folder / "session.sqlite") as db:
            assert db.execute("SELECT accepted FROM commands ORDER BY id DESC LIMIT 1").fetchone() == (1,)
