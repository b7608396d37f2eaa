"""The page in a real browser: it moves, it says what is wrong, and nothing complains in the console."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"),
]


def status(page) -> str:
    return page.locator("#status").inner_text()


def wait_for_status(page, text: str) -> None:
    page.wait_for_function("text => document.getElementById('status').textContent.includes(text)", arg=text)


def test_frames_advance_and_the_fraction_moves(page, live, serving, tmp_path) -> None:
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 1", exact=True).wait_for()
        wait_for_status(page, "1 frame analysed")
        before = status(page), page.locator(".big").inner_text()

        delays = []
        for number in range(2, 6):
            live.analysed("yes", "yes", "no", "null")
            committed = time.monotonic()
            with page.expect_response(lambda reply, n=number: f"/preview/{n}.jpg" in reply.url) as reply:
                page.get_by_text(f"frame {number}", exact=True).wait_for()
            delays.append(time.monotonic() - committed)
            assert reply.value.ok
        assert max(delays) < 2

        wait_for_status(page, "5 analysed")
        after = status(page), page.locator(".big").inner_text()
        assert "Stacking-fault fraction" in after[0]
        assert before[0] != after[0]
        assert before[1] != after[1]
        assert after[1].split("\n")[0].split()[0] in page.title()
        shot = np.asarray(Image.open(io.BytesIO(page.screenshot(path=tmp_path / "page.png"))).convert("RGB"))
        assert shot.shape == (900, 1440, 3)
        assert np.median(shot) < 60  # a dark page for a dark room
        for colour in ((0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9), (0xCC, 0x79, 0xA7)):  # yes, no, null are drawn
            assert (np.abs(shot.astype(int) - colour).sum(axis=2) < 12).sum() > 200


def test_row_0_is_at_the_top_and_outlines_lie_where_their_particles_are(
    page, live, serving, particle
) -> None:
    # The made picture is bright in its top left corner, and there is one particle around just that corner.
    live.finish(live.arrive(), [particle("yes", 25, 25, 24)])
    with serving(live.directory) as server:
        with page.expect_response(lambda reply: "/preview/2.jpg" in reply.url):
            page.goto(server.url)
        page.get_by_text("frame 2", exact=True).wait_for()
        chart = page.locator("main .bk-Figure:visible")

        def looks_right() -> bool:
            shot = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("RGB")).astype(int)
            bright = np.argwhere(shot.min(axis=2) > 235)
            orange = np.argwhere(np.abs(shot - (0xE6, 0x9F, 0x00)).sum(axis=2) < 12)
            if len(bright) < 500 or len(orange) < 50:
                return False
            height, width, _ = shot.shape
            middle = np.median(bright, axis=0)
            assert middle[0] < height / 4
            assert middle[1] < width / 3
            return bool(np.all(np.abs(np.median(orange, axis=0) - middle) < 25))

        deadline = time.monotonic() + 10
        while not (right := looks_right()) and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        assert right


def test_looking_back_by_hand_and_live_again(page, live, serving) -> None:
    for _ in range(4):
        live.analysed("no")
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 5", exact=True).wait_for()
        page.get_by_role("button", name="◀").click()
        page.get_by_text("frame 4", exact=True).wait_for()
        page.get_by_text("looking back · newest is 5").wait_for()
        live.analysed("yes")
        page.get_by_text("looking back · newest is 6").wait_for()
        page.get_by_role("slider").focus()
        page.keyboard.press("Home")
        page.get_by_text("frame 1", exact=True).wait_for()
        page.get_by_role("button", name="▶").click()
        page.get_by_text("frame 2", exact=True).wait_for()
        page.get_by_role("button", name="live").click()
        page.get_by_text("frame 6", exact=True).wait_for()
        assert not page.get_by_text("looking back").count()


def test_hovering_over_a_particle_tells_its_class_and_size(page, live, serving, particle) -> None:
    live.finish(live.arrive(), [particle("yes", 200, 200, 150)])
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 2", exact=True).wait_for()
        box = page.locator("main .bk-Figure:visible").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(box["x"] + box["width"] / 2 + 4, box["y"] + box["height"] / 2)
        page.get_by_text("1: yes, fault seen").wait_for()
        page.get_by_text("9.00 nm").wait_for()
        page.get_by_text("0.85", exact=True).wait_for()


def test_by_time_and_by_frame(page, live, serving) -> None:
    live.analysed("yes", "no")
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 2", exact=True).wait_for()
        page.get_by_role("button", name="by time").click()
        x = "() => Bokeh.documents[0].get_model_by_name('fraction_source').data.x[0]"
        page.wait_for_function(f"() => ({x})() === 0")
        page.get_by_role("button", name="by frame").click()
        page.wait_for_function(f"() => ({x})() === 1")


def test_the_seconds_go_on_and_silence_is_seen(page, make_session, serving, tmp_path) -> None:
    began = (
        time.time() - 11.5
    )  # at two frames a second eight seconds of silence are worth saying, but never under 10
    times = iter(began + 0.5 * i for i in range(1000))
    now = [began]
    session = make_session(tmp_path / "silent", at=lambda: now[0])
    for _ in range(5):
        now[0] = next(times)
        session.analysed("no")
    with serving(session.directory) as server:
        page.goto(server.url)
        page.locator("#age-value").wait_for()
        assert page.locator("#age").inner_text().startswith("last frame")
        seconds = "() => parseInt(document.getElementById('age-value').textContent)"
        first = page.evaluate(seconds)
        page.wait_for_function(f"first => ({seconds})() > first", arg=first)
        page.wait_for_function("() => document.getElementById('state').dataset.state === 'quiet'")
        assert "No frame has come since" in status(page)
        page.wait_for_function("() => document.getElementById('age').classList.contains('old')")


def test_a_lost_server_is_seen_and_the_page_comes_back_by_itself(page, live, serving) -> None:
    with serving(live.directory) as server:
        port = server.port
        page.goto(server.url)
        page.get_by_text("frame 1", exact=True).wait_for()
    page.wait_for_function("() => document.getElementById('state').dataset.state === 'disconnected'")
    assert "lost its server" in status(page)
    live.analysed("yes")
    with serving(live.directory, port=port):
        page.get_by_text("frame 2", exact=True).wait_for()
        page.wait_for_function("() => document.getElementById('state').dataset.state === 'live'")
    # The browser itself remarks on the knocking at a closed door.
    page.complaints[:] = [text for text in page.complaints if "ERR_CONNECTION_REFUSED" not in text]


def test_a_page_opened_before_the_session_begins_comes_alive(page, make_session, serving, tmp_path) -> None:
    with serving(tmp_path / "later") as server:
        page.goto(server.url)
        wait_for_status(page, "No record in the folder later yet")
        session = make_session(tmp_path / "later", at=time.time)
        wait_for_status(page, "no frame has arrived yet")
        session.analysed("yes")
        page.get_by_text("frame 1", exact=True).wait_for()


def test_text_from_outside_is_text(page, live, serving) -> None:
    nasty = '<img src=x onerror="window.hit = 1">'
    live.refuse(live.arrive(f"/data/{nasty}.tif"), f"no picture: {nasty}")
    live.finish(live.arrive(f"/data/a{nasty}.tif"))
    live.set_sources("watching", nasty)
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text(f"no picture: {nasty}").first.wait_for()
        assert page.evaluate("() => window.hit") is None


def test_the_list_of_sessions_leads_to_each(page, make_session, serving, tmp_path) -> None:
    for name in ("monday", "tuesday & co"):
        make_session(tmp_path / name).analysed("yes", "no")
    with serving(tmp_path) as server:
        page.goto(server.url)
        page.get_by_role("link", name="tuesday & co", exact=True).click()
        page.get_by_text("frame 1", exact=True).wait_for()
        assert "tuesday & co" in page.title()


@pytest.mark.parametrize("size", [(1280, 720), (1440, 900), (1920, 1080)])
def test_everything_fits_on_common_screens(page, live, serving, size) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 1", exact=True).wait_for()
        scroll = "() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        assert page.evaluate(scroll) == list(size)
        for index in range(4):
            box = page.locator(".bk-Figure:visible").nth(index).bounding_box()
            assert box["width"] > 250
            assert box["height"] > 130
