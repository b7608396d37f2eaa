"""What a report tells of a session, and that nothing from outside gets into it as anything but text."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import faultwatch
from dashboard.report.montage import stack_text
from dashboard.report.write import write_report
from monitor.errors import InputError, NoSession
from monitor.record import RecordWriter
from monitor.record.summary import summarise

Record = Callable[..., Path]
SECTIONS = (
    "1 Result", "2 The session", "3 By size and by field", "4 Particles", "5 Where they lie",
    "6 Conditions and quality", "7 Alarms", "8 Ledger", "9 Model", "10 How each number was computed", "11 Versions",
)  # fmt: skip


def page_of(session: Path, to: Path) -> str:
    write_report(session, to)
    return to.read_text(encoding="utf-8")


def words_of(page: str) -> str:
    """The text of a page without its elements."""
    body = page[page.index("<body") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_it_tells_the_session(recorded: Record, tmp_path: Path) -> None:
    session = recorded()
    page = page_of(session, tmp_path / "r.html")
    said, words = summarise(session), words_of(page)
    assert all(f"<h2>{name}</h2>" in page for name in SECTIONS)
    assert "Stacking faults in session night" in words
    assert "whose stacking is resolved, the share that holds at least one planar fault" in words
    fraction = said["fraction"]
    assert f"{100 * fraction['corrected']:.1f} %" in words
    assert f"{100 * fraction['interval'][0]:.1f} to {100 * fraction['interval'][1]:.1f} %" in words
    assert f"holds at every look {100 * said['always'][0]:.1f} to" in words
    assert "tracks yes + no 2 + 2" in words
    assert "material CdSe" in words
    assert "keep: all" in words
    assert "pixel size" not in words.split("settings")[1].split("3 By size")[0]  # it was not given
    assert "sensitivity among resolved particles 0.796 (144 of 181)" in words
    assert "macro-F1 of the classes, held out 0.7885" in words
    assert "2025" not in words.split("10 How each")[0]
    assert "2026-11-18" in words


def test_the_ledger_balances_and_gives_reasons(recorded: Record, tmp_path: Path) -> None:
    words = words_of(page_of(recorded(), tmp_path / "r.html"))
    assert (
        "analysed 6 queued 0 rejected 1 dropped 0 arrived = analysed + queued + rejected + dropped 7" in words
    )
    assert "it is no picture 1" in words
    assert "2 files ignored" in words
    assert "overexposed: 40% of the pixels stand at the largest value 1" in words


def test_alarms_are_in_the_table_and_in_the_charts(recorded: Record, tmp_path: Path) -> None:
    page = page_of(recorded(), tmp_path / "r.html")
    assert "gap in numbers warning 2 to 3 2 2026-11-18" in words_of(page)
    assert "Two frames never came." in page
    assert 'aria-label="alarms over the session"' in page
    assert "dose, as power of the noise" in page
    assert "information limit [nm⁻¹]" not in page  # no frame has one


def test_particles_are_shown_by_class_with_what_was_read(recorded: Record, tmp_path: Path) -> None:
    page = page_of(recorded(), tmp_path / "r.html")
    assert page.count("data:image/jpeg;base64,") == 5
    assert "(preview)" not in page
    assert "fault at layer 7, evidence 33" in page
    assert "cubic, explains 81%" in page
    assert "map 1: 5 particles" in page


def test_without_the_frames_pictures_come_from_previews(recorded: Record, tmp_path: Path) -> None:
    session = recorded()
    for path in (tmp_path / "frames").iterdir():
        path.write_bytes(b"another picture")
    page = page_of(session, tmp_path / "r.html")
    assert page.count("data:image/jpeg;base64,") == 5
    assert page.count("(preview)") == 5
    with closing(sqlite3.connect(session / "session.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE results SET preview = NULL")
    page = page_of(session, tmp_path / "r.html")
    assert page.count("neither the frame nor a preview is there") == 5
    assert "data:image/jpeg" not in page


def test_labels_are_told(recorded: Record, label_all: Callable[[Path], int], tmp_path: Path) -> None:
    session = recorded()
    number = label_all(session)
    words = words_of(page_of(session, tmp_path / "r.html"))
    assert f"labelled tracks {number}" in words
    kappa = summarise(session)["labels"]["kappa"]
    assert f"κ of two observers {kappa:.2f} (" in words


class Elements(HTMLParser):
    """Names of the elements and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name) for name, _ in attrs] or [(tag, "")]


def test_text_from_outside_is_text(recorded: Record, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    details = {
        "licence": nasty,
        "rates": {"sensitivity": nasty},
        "confusion": {"true": [nasty], "called": nasty, "counts": {nasty: nasty}},
    }
    session = recorded("a <b onclick=x>&'", frames=tmp_path / "fra<i>mes'&", details=details)
    with closing(sqlite3.connect(session / "session.sqlite", isolation_level=None)) as db:
        for table, column in (
            ("frames", "reason"), ("sources", "address"), ("sources", "message"), ("alarms", "kind"),
            ("alarms", "cause"), ("alarms", "severity"), ("results", "backend"), ("places", "uncounted"),
            ("bundles", "path"),
        ):  # fmt: skip
            db.execute(
                f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL OR 'message' = '{column}'",
                (nasty,),
            )
        db.execute("INSERT OR REPLACE INTO meta VALUES ('settings', ?)", (json.dumps({nasty: nasty}),))
        for key in ("command", "material", "started"):
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, nasty))
    page = page_of(session, tmp_path / "r.html")
    elements = Elements()
    elements.feed(page)
    names = {tag for tag, _ in elements.found}
    assert {"svg", "image", "table"} <= names
    assert not names & {"script", "iframe", "object", "embed", "form", "img"}
    assert not [name for _, name in elements.found if name.startswith("on")]
    assert nasty in unescape(page)
    assert "a <b onclick=x>&'" in unescape(page)


def test_nothing_is_fetched(recorded: Record, tmp_path: Path) -> None:
    page = page_of(recorded(), tmp_path / "r.html")
    outside = re.findall(r'\s(?:href|src)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert len(outside) > 5
    assert all(link.startswith(("data:", "#")) for link in outside)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_an_empty_session_and_one_that_runs(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "s") as record:
        record.add_source("directory", "somewhere", 0.0)
        page = page_of(tmp_path / "s", tmp_path / "r.html")
    words = words_of(page)
    assert "There is no fraction: no frame was analysed." in words
    assert "The session had not ended" in words
    assert "No particle was found." in words
    assert "No model was loaded." in words
    assert "arrived = analysed + queued + rejected + dropped 0" in words


def test_a_record_of_the_first_version(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    data = Path(__file__).parents[2] / "monitor" / "record" / "data" / "record_v1.sql"
    with closing(sqlite3.connect(tmp_path / "old" / "session.sqlite", isolation_level=None)) as db:
        db.executescript(f"BEGIN; {data.read_text(encoding='utf-8')}; PRAGMA user_version = 1; COMMIT;")
        db.execute("INSERT INTO bundles VALUES ('b', '/b', '{}')")
        db.execute(
            "INSERT INTO sources (id, kind, address, state, since) VALUES (1, 'directory', 'd', 'closed', 0)"
        )
        db.execute(
            "INSERT INTO frames (source_id, path, item, arrived, metadata, state) "
            "VALUES (1, 'a.tif', 0, 5, '{}', 'analysed')"
        )
        db.execute("INSERT INTO results VALUES (1, 'b', 'cpu', 100, 100, .05, '{}', '{}', 0, 0, 7, NULL)")
        for label, name in enumerate(("yes", "no", "no"), 1):
            db.execute(
                "INSERT INTO particles VALUES "
                "(NULL, 1, ?, ?, .1, .2, .3, .4, 0, 0, 0, 60, 60, 30, 30, 3, 7, '[]', '{}')",
                (label, name),
            )
        db.execute("INSERT INTO statistics VALUES (1, 1, 5, 0, 0, 2, 1, .33, .3, .1, .6)")
    said = summarise(tmp_path / "old")
    words = words_of(page_of(tmp_path / "old", tmp_path / "r.html"))
    assert said["tracks_are_sightings"]
    assert "Particles were not followed." in words
    assert "Places on the specimen are not known." in words
    assert "sightings yes + no 1 + 2" in words
    assert "95 % interval 10.0 to 60.0 %" in words
    assert "The version that recorded this session raised none." in words


def test_no_session_a_damaged_one_and_a_place_that_can_not_be(
    recorded: Record, tmp_path: Path, capsys
) -> None:
    with pytest.raises(NoSession):
        write_report(tmp_path / "none", tmp_path / "r.html")
    session = recorded()
    with pytest.raises(InputError, match=r"is written as \.html"):
        write_report(session, tmp_path / "r.pdf")
    with pytest.raises(InputError, match="can't be written"):
        write_report(session, tmp_path / "missing" / "r.html")
    with closing(sqlite3.connect(session / "session.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE results SET quality = '{' WHERE frame_id = 2")
    (tmp_path / "r.html").write_text("the one before")
    assert faultwatch.main(["report", str(session), "--to", str(tmp_path / "r.html")]) == 1
    assert "what stands in a row is damaged" in capsys.readouterr().err
    assert (tmp_path / "r.html").read_text() == "the one before"
    assert not (tmp_path / "r.html.part").exists()


def test_the_command_replaces_a_page_and_says_where_it_is(recorded: Record, tmp_path: Path, capsys) -> None:
    (tmp_path / "r.html").write_text("the one before")
    assert faultwatch.main(["report", str(recorded()), "--to", str(tmp_path / "r.html")]) == 0
    assert f"the report is at {tmp_path / 'r.html'} (0." in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not (tmp_path / "r.html.part").exists()


def test_a_long_session_makes_no_long_page(long_session: Callable[[int], Path], tmp_path: Path) -> None:
    size = write_report(long_session(2000), tmp_path / "r.html")
    assert size < 2_000_000
    assert "the other 360" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ({}, "no stack read"),
        ({"first_perfect_h": None}, "no stack read"),
        ({"first_perfect_h": 0.7, "first_perfect_c": 0.2, "first_faulted": 0.7, "first_significance": 2,
          "first_row_power": 1}, "hexagonal, explains 70%"),
        ({"second_perfect_h": 0.7, "second_perfect_c": 0.2, "second_faulted": 0.9, "second_significance": 20.4,
          "second_row_power": 1, "stack_place": 4.5}, "fault at layer 4.5, evidence 20"),
        ({"first_perfect_h": 0.1, "first_perfect_c": 0.0, "first_faulted": 0.1, "first_significance": 0,
          "first_row_power": 1}, "no stack read"),
    ],
)  # fmt: skip
def test_what_was_read_of_a_stack(features, text):
    assert stack_text(features) == text
