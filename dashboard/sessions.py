"""The list of sessions in a folder, newest first, each with its figures."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from bokeh.models import Div

from dashboard.style import clock_time, percent, text_sheet
from dashboard.view import open_record
from monitor.errors import NoSession
from monitor.record.database import DATABASE, is_session

#: More than this many are not listed; the newest are.
_LISTED = 200


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
    problem: str | None = None


class SessionList:
    """The table of sessions; reads only the records that changed since it last looked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lines: dict[str, SessionLine] = {}
        self.root = Div(name="sessions", text="", stylesheets=[text_sheet("sessions")])
        self.root.sizing_mode = "stretch_width"

    def update(self, now: float) -> None:
        """Look at the folder; sends nothing where nothing is different."""
        found = sorted(_modified(self._directory), key=lambda item: item[1], reverse=True)[:_LISTED]
        known = self._lines
        self._lines = {
            path.name: known[path.name]
            if path.name in known and known[path.name].modified == modified
            else _read(path, modified)
            for path, modified in found
        }
        text = _table(list(self._lines.values()), now)
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
    except (sqlite3.Error, NoSession) as error:
        return SessionLine(path.name, modified, problem=str(error))
    return SessionLine(
        path.name, modified, sum(states.values()), states.get("analysed", 0), *(figures or (None, None, None))
    )


def _table(lines: list[SessionLine], now: float) -> str:
    if not lines:
        return '<p class="dim">There is no session in this folder yet.</p>'
    rows = "".join(
        f'<tr><td><a href="session?session={quote(line.name, safe="")}">{escape(line.name)}</a></td>'
        f"<td>{clock_time(line.modified, now)}</td>{_figures(line)}</tr>"
        for line in lines
    )
    return (
        '<table class="sessions"><tr><th>session</th><th>last written</th><th class="n">arrived</th>'
        '<th class="n">analysed</th>'
        f'<th class="n">stacking-fault fraction</th><th>95 % interval</th></tr>{rows}</table>'
    )


def _figures(line: SessionLine) -> str:
    if line.problem is not None:
        return f'<td colspan="4" class="warn">▲ {escape(line.problem)}</td>'
    interval = "" if line.corrected is None else f"{percent(line.low)} to {percent(line.high)}"
    return (
        f'<td class="n">{line.arrived:,}</td><td class="n">{line.analysed:,}</td>'
        f'<td class="n"><b>{percent(line.corrected)}</b></td><td>{interval}</td>'
    )
