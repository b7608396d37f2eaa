"""The list of sessions in a folder: what each is called, looks like, found, and what was noted of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from bokeh.models import Div

from dashboard.asked import stamp_of, tables
from dashboard.clicks import Clicks
from dashboard.comparing import Comparison
from dashboard.style import clock_time, percent, text_sheet
from dashboard.view import open_record
from monitor.errors import NoSession
from monitor.record.database import DATABASE, is_session
from monitor.record.notes import NoteRow, read_notes

#: More than this many are not listed; the newest are.
_LISTED = 200
#: Kinds of downloads, as in `dashboard.downloads.MADE`.
DOWNLOADS = (
    ("tracks.csv", "tracks, CSV"),
    ("particles.csv", "sightings, CSV"),
    ("particles.parquet", "sightings, Parquet"),
    ("report.html", "report"),
    ("masks.zip", "masks"),
)


@dataclass(frozen=True)
class SessionLine:
    """What the list says of one session."""

    name: str
    modified: float
    arrived: int = 0
    analysed: int = 0
    corrected: float | None = None
    low: float | None = None
    high: float | None = None
    picture: tuple[int, str] | None = None
    """Number and stamp of the newest frame that has a preview."""
    note: NoteRow | None = None
    """The last one."""
    problem: str | None = None

    def has(self, words: list[str]) -> bool:
        """Whether each of these words is in its name or its last note, whatever the case."""
        text = f"{self.name} {self.note.text if self.note else ''}".casefold()
        return all(word in text for word in words)


class SessionList:
    """The table of sessions; reads only the records that changed since it last looked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lines: dict[str, SessionLine] = {}
        self._words: list[str] = []
        self._now = 0.0
        self.clicks = Clicks()
        self.comparison = Comparison(directory)
        self.clicks.on("search", self._search)
        self.clicks.on("compare", self._choose)
        self.root = Div(name="sessions", text="", stylesheets=[text_sheet("sessions")])
        self.root.sizing_mode = "stretch_width"
        self.root.tags = [self.clicks.source]

    def update(self, now: float) -> None:
        """Look at the folder; sends nothing where nothing is different."""
        self._now = now
        found = sorted(_modified(self._directory), key=lambda item: item[1], reverse=True)
        known = self._lines
        self._lines = {
            path.name: known[path.name]
            if path.name in known and known[path.name].modified == modified
            else _read(path, modified)
            for path, modified in found
        }
        self._draw()

    def _search(self, text: str) -> None:
        self._words = text.casefold().split()
        self._draw()

    def _choose(self, name: str) -> None:
        if name in self._lines:
            self.comparison.choose(name)
            self._draw()

    def _draw(self) -> None:
        self.comparison.update()
        found = [line for line in self._lines.values() if line.has(self._words)]
        text = _table(found, len(self._lines), self.comparison.chosen, self._now)
        if text != self.root.text:
            self.root.text = text


def _modified(directory: Path) -> list[tuple[Path, float]]:
    """The sessions in a folder and when each was last written."""
    found = []
    try:
        children = list(directory.iterdir())
    except OSError:
        return []
    for child in children:
        try:
            if is_session(child):
                files = [child / DATABASE, child / f"{DATABASE}-wal"]
                found.append((child, max(file.stat().st_mtime for file in files if file.exists())))
        except OSError:  # taken away while looking
            continue
    return found


def _read(path: Path, modified: float) -> SessionLine:
    try:
        with closing(open_record(path)) as db:
            states = dict(db.execute("SELECT state, count(*) FROM frames GROUP BY state").fetchall())
            figures = db.execute(
                "SELECT corrected, low, high FROM statistics ORDER BY position DESC LIMIT 1"
            ).fetchone()
            picture = db.execute(
                "SELECT frame_id, committed FROM results WHERE preview IS NOT NULL ORDER BY frame_id DESC LIMIT 1"
            ).fetchone()
            notes = read_notes(db, 1) if "commands" in tables(db) else []
    except (sqlite3.Error, NoSession) as error:
        return SessionLine(path.name, modified, problem=str(error))
    corrected, low, high = figures or (None, None, None)
    return SessionLine(
        path.name,
        modified,
        arrived=sum(states.values()),
        analysed=states.get("analysed", 0),
        corrected=corrected,
        low=low,
        high=high,
        picture=None if picture is None else (picture[0], stamp_of(picture[1])),
        note=notes[-1] if notes else None,
    )


def _table(lines: list[SessionLine], of: int, chosen: list[str], now: float) -> str:
    if not of:
        return '<p class="dim">There is no session in this folder yet.</p>'
    if not lines:
        return f'<p class="dim">None of the {of:,} sessions has these words in its name or its last note.</p>'
    rows = "".join(_row(line, line.name in chosen, now) for line in lines[:_LISTED])
    more = len(lines) - _LISTED
    older = f'<p class="dim">{more:,} older ones are not listed; search for them.</p>' if more > 0 else ""
    return (
        '<table class="sessions"><tr><th>compare</th><th></th><th>session</th><th class="n">frames</th>'
        '<th class="n">fraction</th><th>95 % interval</th><th>download</th></tr>'
        f"{rows}</table>{older}"
    )


def _row(line: SessionLine, chosen: bool, now: float) -> str:
    name, address = escape(line.name), quote(line.name, safe="")
    picture = "" if line.picture is None else (
        f'<a href="session?session={address}" tabindex="-1"><img loading="lazy" alt="newest frame of {name}"'
        f' src="preview/{line.picture[0]}.jpg?v={line.picture[1]}&amp;session={address}"></a>'
    )  # fmt: skip
    note = "" if line.note is None else f'<div class="noted">{escape(line.note.text)}</div>'
    return (
        f'<tr><td><button class="choose" role="checkbox" aria-checked="{str(chosen).lower()}" data-ask="compare"'
        f' data-value="{name}" aria-label="compare {name}">{"✓" if chosen else "&nbsp;"}</button></td>'
        f'<td class="thumb">{picture}</td>'
        f'<td><a href="session?session={address}">{name}</a>'
        f'<div class="dim">last written {clock_time(line.modified, now)}</div>{note}</td>'
        f"{_figures(line)}</tr>"
    )


def _figures(line: SessionLine) -> str:
    if line.problem is not None:
        return f'<td colspan="4" class="warn">▲ {escape(line.problem)}</td>'
    interval = "" if line.corrected is None else f"{percent(line.low)} to {percent(line.high)}"
    waiting = f'<div class="dim">of {line.arrived:,}</div>' if line.arrived != line.analysed else ""
    return (
        f'<td class="n">{line.analysed:,}{waiting}</td>'
        f'<td class="n"><b>{percent(line.corrected)}</b></td><td>{interval}</td>'
        f'<td class="files">{downloads(line.name)}</td>'
    )


def downloads(name: str | None) -> str:
    """Links to what can be downloaded of the session called `name` (None: the only one)."""
    which = "" if name is None else f"?session={quote(name, safe='')}"
    return " ".join(f'<a href="download/{made}{which}" download>{words}</a>' for made, words in DOWNLOADS)
