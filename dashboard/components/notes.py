"""Notes of a session, the newest first, and what of it can be downloaded."""

from __future__ import annotations

from html import escape

from bokeh.models import Div

from dashboard.asking import Asking
from dashboard.sessions import downloads
from dashboard.snapshot import Snapshot
from dashboard.style import clock_time, text_sheet
from dashboard.view import RecordView
from monitor.record.notes import NOTE, NoteRow

#: Of more notes the last ones are shown.
SHOWN = 200


class Notes:
    """A list of notes. The field to write one in belongs to the tab's template; its script asks for `note`."""

    def __init__(self, view: RecordView, asking: Asking, name: str | None) -> None:
        """
        Parameters
        ----------
        name : of the session in the folder that is served; None: it is the only one.
        """
        self._view = view
        self._asking = asking
        self._observer = ""
        self._said = ""
        self._now = 0.0
        self._files = downloads(name)
        asking.on("note", self._write)
        asking.on("noted-by", self._named)
        self.root = Div(name="notes", text="", sizing_mode="stretch_both", margin=0)
        self.root.stylesheets = [text_sheet("notes", ":host { overflow: hidden auto; }")]

    def update(self, _snapshot: Snapshot, now: float) -> None:
        """Show the notes as they stand; sends nothing where nothing is different."""
        self._now = now
        self._draw()

    def _named(self, observer: str) -> None:
        self._observer = observer.strip()[:80]

    def _write(self, text: str) -> None:
        if not text.strip():
            return

        def answered(accepted: bool | None, said: str) -> None:
            self._said = "" if accepted else said
            self._draw()

        self._said = "asked …"
        self._asking.command(NOTE, {"text": text.strip()[:4000], "by": self._observer}, answered)
        self._draw()

    def _draw(self) -> None:
        said = f'<p class="said" role="status">{escape(self._said)}</p>' if self._said else ""
        notes = self._view.notes(SHOWN)
        shown = (
            "".join(_note(note, self._now) for note in reversed(notes)) or '<p class="dim">no note yet</p>'
        )
        text = f"{said}{shown}<h3>download</h3><p class='files'>{self._files}</p>"
        if text != self.root.text:
            self.root.text = text


def _note(note: NoteRow, now: float) -> str:
    by = f" · {escape(note.by)}" if note.by else ""
    return (
        f'<div class="note-row"><span class="dim">{clock_time(note.at, now)}{by}</span>'
        f'<div class="note-text">{escape(note.text)}</div></div>'
    )
