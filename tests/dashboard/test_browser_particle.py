"""The particle's tab and the frame's tools in a real browser: every control by mouse and by keyboard."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.dashboard.filed import file_frame, judged_frame, stripes

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"),
]
MODEL = "name => Bokeh.documents[0].get_model_by_name(name)"


def opened(page, server, frame: int) -> None:
    page.goto(server.url)
    page.get_by_text(f"frame {frame}", exact=True).wait_for()
    page.wait_for_function(f"() => Bokeh.index.find_one(({MODEL})('frame_chart'))?.frame?.bbox.width > 50")
    page.wait_for_function(f"() => ({MODEL})('frame_chart').x_range.end > 11")


def on_screen(page, x_nm: float, y_nm: float, chart: str = "frame_chart") -> tuple[float, float]:
    """Where a point of a chart lies on the screen."""
    place = page.evaluate(
        f"""([x, y, name]) => {{
          const view = Bokeh.index.find_one(({MODEL})(name)), box = view.canvas_view.el.getBoundingClientRect();
          return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)];
        }}""",
        [x_nm, y_nm, chart],
    )
    return place[0], place[1]


def data(page, source: str) -> dict:
    return page.evaluate(f"name => JSON.parse(JSON.stringify(({MODEL})(name).data))", source)


def selected(page, key: str) -> None:
    page.wait_for_function(f"key => ({MODEL})('frame_selected_source').data.key[0] === key", arg=key)


def greys(page, chart: str = "main .bk-Figure >> nth=0") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.locator(chart).screenshot())).convert("L")).astype(float)


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_a_click_on_a_particle_opens_it_beside_the_frame(page, live, serving, width) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    with serving(live.directory) as server:
        opened(page, server, 1)
        page.mouse.click(*on_screen(page, 80.5 * 0.03, (399.5 - 70) * 0.03))
        selected(page, "1:1")
        page.get_by_role("tab", name="particle", selected=True).wait_for()
        page.get_by_text("looking back · newest is 1").wait_for()
        panel = page.locator("#tab-particle")
        panel.get_by_text("fault seen").first.wait_for()
        panel.get_by_role("img", name="probability of yes: 85%").wait_for()
        panel.get_by_text("2.10 nm").first.wait_for()
        panel.get_by_role("img", name="the particle").first.wait_for()
        for box in (panel.bounding_box(), page.locator("main").bounding_box()):
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        panel.get_by_text("is no longer there").wait_for(timeout=60_000)  # the frame has no file


def test_keys_among_particles_and_back_to_live(page, live, serving) -> None:
    with serving(live.directory) as server:
        opened(page, server, 1)
        page.locator("main").focus()
        page.keyboard.press("ArrowRight")  # the largest at first
        selected(page, "1:4")
        page.get_by_role("tab", name="particle", selected=True).wait_for()
        page.keyboard.press("ArrowUp")
        selected(page, "1:1")
        page.keyboard.press("ArrowRight")
        selected(page, "1:2")
        page.keyboard.press("ArrowRight")
        selected(page, "1:3")
        page.keyboard.press("ArrowLeft")
        selected(page, "1:2")
        page.get_by_role("button", name="outlines: no,").click()
        page.keyboard.press("ArrowDown")  # past those whose outlines are off
        selected(page, "1:4")
        live.analysed("yes")
        page.get_by_text("looking back · newest is 2").wait_for()
        page.keyboard.press("Escape")
        page.get_by_text("frame 2", exact=True).wait_for()  # it was live before
        page.locator("#tab-particle").get_by_text("Click on a particle").wait_for()
        assert not page.get_by_text("looking back").count()


def test_what_counted_and_the_track_of_a_recorded_session(page, live, serving, tmp_path) -> None:
    """With the real models, in their process."""
    frame = judged_frame(live, tmp_path / "a.tif")
    live.place(frame)
    live.db.execute("UPDATE particles SET track = 1 WHERE frame_id = ? OR id = 1", (frame,))
    live.db.execute("INSERT OR IGNORE INTO tracks SELECT id, 1, 1, class, p_empty, p_null, p_no, p_yes, 1, 1, 1, 1,"
                    " diameter_nm, 1, 0.8, 0, 0 FROM particles WHERE id = 1")  # fmt: skip
    with serving(live.directory) as server:
        opened(page, server, frame)
        page.locator("main").focus()
        page.keyboard.press("ArrowDown")
        panel = page.locator("#tab-particle")
        panel.get_by_text("working …").first.wait_for()
        panel.get_by_text("what counted for or against").wait_for(timeout=120_000)
        panel.get_by_role("img", name="the outline and what was read along the stacking direction").wait_for()
        panel.get_by_role("img", name="indexed spots").wait_for()
        sizes = "images => images.map(image => image.naturalWidth)"
        crop, spectrum, *thumbs = panel.locator("img").evaluate_all(sizes)
        assert crop > 150  # the frame's own pixels
        assert spectrum == 256
        page.wait_for_function("() => faultwatch.find('.strip img').naturalWidth === 72")
        assert len(thumbs) == 2
        panel.get_by_role("button", name="frame 1: yes").click()
        page.get_by_text("frame 1", exact=True).wait_for()
        selected(page, "1:1")
        panel.get_by_role("button", name="clear").click()
        panel.get_by_text("Click on a particle").wait_for()


def test_outlines_by_class(page, live, serving) -> None:
    blue = np.array((0x56, 0xB4, 0xE9))

    def drawn() -> int:
        shot = Image.open(io.BytesIO(page.locator("main .bk-Figure >> nth=0").screenshot())).convert("RGB")
        return int((np.abs(np.asarray(shot).astype(int) - blue).sum(axis=2) < 12).sum())

    with serving(live.directory) as server:
        opened(page, server, 1)
        page.wait_for_timeout(300)
        before = drawn()
        assert before > 200
        button = page.get_by_role("button", name="outlines: no,")
        button.focus()
        page.keyboard.press("Space")
        assert button.get_attribute("aria-pressed") == "false"
        button.blur()  # its frame has the same colour
        page.wait_for_timeout(200)
        assert drawn() < 20
        live.analysed("no", "no")  # also on the next frame
        page.get_by_text("frame 2", exact=True).wait_for()
        page.wait_for_timeout(300)
        assert drawn() < 20
        button.click()
        page.wait_for_timeout(200)
        assert drawn() > 100


def test_contrast_and_gamma_change_the_picture_alone(page, live, serving) -> None:
    orange = np.array((0xE6, 0x9F, 0x00))
    with serving(live.directory) as server:
        opened(page, server, 1)
        unfold = page.get_by_role("button", name="contrast and gamma")
        assert not page.get_by_role("slider", name="gamma").is_visible()
        unfold.click()
        assert unfold.get_attribute("aria-expanded") == "true"
        page.wait_for_timeout(400)
        before = greys(page)
        middle = before[150:-150, 150:-150]
        gamma = page.get_by_role("slider", name="gamma")
        gamma.focus()
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)
        after = greys(page)[150:-150, 150:-150]
        # Grey g becomes g to the power of 1 / gamma.
        assert np.median(after) == pytest.approx(255 * (np.median(middle) / 255) ** 0.5, abs=6)
        shot = np.asarray(
            Image.open(io.BytesIO(page.locator("main .bk-Figure >> nth=0").screenshot())).convert("RGB")
        )
        assert (np.abs(shot.astype(int) - orange).sum(axis=2) < 12).sum() > 50  # outlines keep their colours
        page.get_by_role("slider", name="contrast").fill("4")
        page.wait_for_timeout(200)
        assert greys(page)[150:-150, 150:-150].std() > 1.5 * after.std()
        page.get_by_role("button", name="reset").last.click()
        page.wait_for_timeout(200)
        assert np.abs(greys(page) - before).mean() < 1


def test_the_wheel_loads_full_resolution_and_the_preview_stays_without_the_file(
    page, live, serving, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(
        "dashboard.components.frame_tools.PREVIEW_SIDE", 100
    )  # as of a frame four times as large
    file_frame(live, 1, tmp_path / "a.tif", stripes())
    live.analysed("yes")
    with serving(live.directory) as server:
        opened(page, server, 2)
        page.wait_for_timeout(600)
        assert page.locator(".told").inner_text() == ""  # whole frames that go by are previews
        page.get_by_role("button", name="◀").click()
        page.get_by_text("full resolution").wait_for()
        whole = data(page, "frame_part_source")
        page.mouse.move(*on_screen(page, 4, 4))
        for _ in range(6):
            page.mouse.wheel(0, -120)
        page.wait_for_function(f"w => ({MODEL})('frame_part_source').data.w[0] < w", arg=0.7 * whole["w"][0])
        part = data(page, "frame_part_source")
        assert part["url"][0].startswith("data:image/jpeg")
        for at, length, name in (("x", "w", "x_range"), ("y", "h", "y_range")):
            low, high = page.evaluate(
                f"n => [({MODEL})('frame_chart')[n].start, ({MODEL})('frame_chart')[n].end]", name
            )
            begin = part[at][0] if at == "x" else part[at][0] - part[length][0]
            assert begin <= max(low, 0) + 0.04
            assert begin + part[length][0] >= min(high, 12) - 0.04
        page.wait_for_timeout(300)
        rows = greys(page)[100:-100, 150:-150].mean(axis=1)
        assert rows.std() > 60  # stripes of one pixel, which no preview shows
        page.get_by_role("button", name="▶").click()
        page.get_by_text("The picture is the preview, however far it is enlarged").wait_for()
        assert data(page, "frame_part_source")["url"] == []


def test_the_spectrum_of_the_whole_frame(page, live, serving, tmp_path) -> None:
    rows = np.arange(400)[:, None] * 0.03
    fringes = (
        1000 + 300 * np.cos(2 * np.pi * 2.85 * rows) + np.random.default_rng(0).normal(0, 20, (400, 400))
    )
    file_frame(live, 1, tmp_path / "a.tif", fringes.astype(np.uint16))
    with serving(live.directory) as server:
        opened(page, server, 1)
        toggle = page.get_by_role("button", name="spectrum")
        toggle.focus()
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => ({MODEL})('spectrum_picture_source').data.w.length === 1")
        assert data(page, "spectrum_picture_source")["x"][0] == pytest.approx(-10, abs=0.1)
        page.wait_for_function(f"() => ({MODEL})('spectrum_chart').x_range.end > 9")
        page.wait_for_timeout(300)
        page.mouse.move(*on_screen(page, 0, 2.85, "spectrum_chart"))
        page.get_by_text("d 0.35").first.wait_for()
        page.get_by_role("button", name="measure").click()
        page.mouse.click(*on_screen(page, 2, 2, "spectrum_chart"))
        page.locator(".told").get_by_text("45.0°").wait_for()
        assert float(page.locator(".told").inner_text().split(" nm⁻¹")[0]) == pytest.approx(8**0.5, abs=0.1)
        toggle.click()
        page.wait_for_function(f"() => ({MODEL})('frame_chart').visible")
        assert not page.locator(".told").get_by_text("nm⁻¹").count()


def test_a_distance_by_clicks_and_by_keys(page, live, serving) -> None:
    with serving(live.directory) as server:
        opened(page, server, 1)
        measure = page.get_by_role("button", name="measure")
        measure.click()
        told = page.locator(".told")
        page.mouse.click(*on_screen(page, 3, 3))
        page.wait_for_timeout(400)  # two clicks, not a double one
        page.mouse.move(*on_screen(page, 5, 4))
        page.mouse.click(*on_screen(page, 6, 7))
        told.get_by_text("53.").wait_for()
        assert float(told.inner_text().split(" nm")[0]) == pytest.approx(5, abs=0.1)
        assert not data(page, "frame_selected_source")["key"]  # a click measures now

        page.locator("main").focus()
        before = data(page, "frame_measured_source")["xs"][0]
        page.keyboard.press("Shift+ArrowRight")
        after = data(page, "frame_measured_source")["xs"][0]
        assert after[1] > before[1]
        assert after[0] == before[0]
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowLeft")
        last = data(page, "frame_measured_source")["xs"][0]
        assert last[0] < after[0]
        assert last[1] == after[1]
        measure.click()
        assert data(page, "frame_measured_source")["xs"] == []
        assert told.inner_text() == ""
