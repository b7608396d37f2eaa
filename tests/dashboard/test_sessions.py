"""The list of sessions in a browser, notes, comparing two, and what can be downloaded."""

import csv
import io
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dashboard.comparing import comparison_text
from dashboard.sessions import SessionList

CHROMIUM = pytest.mark.skipif(
    not Path("/usr/bin/chromium").exists(), reason="Debian's chromium is not installed"
)


def fetch(url: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.fixture
def folder(tmp_path, make_session) -> Path:
    """Two sessions; the first has a note with what could be markup."""
    for name, classes in (("monday", ("yes", "no")), ("tuesday <b>", ("no", "no", "null"))):
        session = make_session(tmp_path / name, at=time.time)
        session.analysed(*classes)
        session.place(1)
        if name == "monday":
            arguments = '{"text": "changed <i>aperture</i>", "by": "Ada"}'
            session.db.execute(
                "INSERT INTO commands (at, name, arguments, accepted, answer) VALUES (1, 'note', ?, 1, 'kept')",
                (arguments,),
            )
    return tmp_path


def test_words_of_names_and_notes_are_found(folder, clock) -> None:
    listed = SessionList(folder)
    listed.update(clock())
    assert "monday" in listed.root.text
    assert "changed &lt;i&gt;aperture&lt;/i&gt;" in listed.root.text
    listed._search("APERTURE mon")
    assert "monday" in listed.root.text
    assert "tuesday" not in listed.root.text
    listed._search("nothing like it")
    assert "None of the 2 sessions" in listed.root.text


def test_two_are_chosen_and_of_three_the_oldest_is_let_go(folder) -> None:
    chosen = SessionList(folder).comparison
    chosen.choose("monday")
    assert "another session" in chosen.root.text
    chosen.choose("tuesday <b>")
    chosen._thread.join(20)
    chosen.update()
    assert "monday" in chosen.root.text
    assert "tuesday &lt;b&gt;" in chosen.root.text
    chosen.choose("monday")
    assert chosen.chosen == ["tuesday <b>"]


def test_a_difference_is_told_with_its_interval() -> None:
    fractions = [{"corrected": c, "interval": [c - 0.1, c + 0.1], "reason": None} for c in (0.5, 0.2)]
    said = {
        "difference": 0.3,
        "interval": [0.16, 0.44],
        "apart": True,
        "reason": None,
        "fraction": fractions[1],
    }
    text = comparison_text(["a", "b"], {"fraction": fractions[0], "compare": said})
    assert "+30.0 %" in text
    assert "+16.0 to +44.0 %" in text
    assert "does not hold 0" in text
    assert "left:40.00%;width:20.00%" in text


@pytest.mark.parametrize("name", ["particles.csv", "particles.parquet", "report.html", "masks.zip"])
def test_everything_can_be_downloaded(folder, serving, name) -> None:
    with serving(folder) as server:
        status, headers, body = fetch(f"{server.url}download/{name}?session=monday")
        assert status == 200
        assert f"monday-{name}" in headers["Content-Disposition"]
        assert len(body) == int(headers["Content-Length"]) > 0
        if name == "particles.csv":
            rows = list(csv.DictReader(io.StringIO(body.decode())))
            assert [row["class"] for row in rows] == ["yes", "no"]
        if name == "masks.zip":
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                labels = tifffile.imread(io.BytesIO(archive.read("frame-000001.tif")))
                assert set(np.unique(labels)) == {0, 1, 2}
                assert labels[70, 80] == 1  # in the middle of the first disc
                assert b"frame-000001.tif,1," in archive.read("frames.csv")


def test_what_cant_be_made_is_said(folder, serving) -> None:
    with serving(folder) as server:
        assert fetch(f"{server.url}download/other.csv?session=monday")[0] == 404
        assert fetch(f"{server.url}download/tracks.csv?session=..")[0] == 404
        # This record looks like that of an older version, which followed no particles.
        status, headers, body = fetch(f"{server.url}download/tracks.csv?session=monday")
        assert status == 409
        assert headers["Content-Type"].startswith("text/plain")
        assert b"followed no particles" in body


@pytest.mark.browser
@CHROMIUM
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_list_is_searched_compared_and_downloaded_from(page, folder, serving, width) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    with serving(folder) as server:
        page.goto(server.url)
        page.get_by_role("link", name="monday", exact=True).wait_for()
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        picture = page.get_by_role("img", name="newest frame of monday")
        picture.wait_for()
        assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 0
        for name in ("monday", "tuesday <b>"):
            page.get_by_role("checkbox", name=f"compare {name}").click()
            page.get_by_role("checkbox", name=f"compare {name}", checked=True).wait_for()
        page.get_by_text("has no interval").or_(
            page.get_by_text("95 % interval", exact=False)
        ).first.wait_for()
        page.get_by_label("search").fill("aperture")
        page.get_by_role("link", name="tuesday <b>", exact=True).wait_for(state="detached")
        with page.expect_download() as download:
            page.get_by_role("link", name="sightings, CSV").click()
        assert download.value.suggested_filename == "monday-particles.csv"


@pytest.mark.browser
@CHROMIUM
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_a_note_is_kept_and_shown_as_text(page, live, serving, width) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    with serving(live.directory) as server:
        page.goto(server.url)
        page.get_by_text("frame 1", exact=True).wait_for()
        page.get_by_role("tab", name="notes").click()
        page.get_by_text("no note yet").wait_for()
        page.locator("#noted-by").fill("Ada")
        page.get_by_label("a note of this session").fill("new <b>grid</b>")
        page.keyboard.press("Control+Enter")
        deadline = time.monotonic() + 10
        while not live.asked() and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert live.asked() == [("note", {"text": "new <b>grid</b>", "by": "Ada"}, None)]
        live.carry_out()
        page.get_by_text("new <b>grid</b>").wait_for()
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        page.reload()
        page.get_by_text("new <b>grid</b>").wait_for()  # the tab is in the address
