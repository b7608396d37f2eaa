"""Review: the audits' sample first, then the most doubtful particles, to be relabelled; missed ones to be marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from bokeh.models import Div

from dashboard.asking import Asking
from dashboard.components.audit import NUMBER, AuditPanel
from dashboard.components.review_text import Shown, doubtful_card, picture, sample_card, what_counts
from dashboard.reviewed import ReviewState
from dashboard.snapshot import Snapshot
from dashboard.style import text_sheet
from dashboard.view import RecordView
from models.results import CLASSES
from monitor.record.corrections import CORRECT
from monitor.record.reviewing import MISSED, WITHDRAW, Doubtful

#: So many doubtful tracks are in the queue.
QUEUE = 40


@dataclass(frozen=True)
class _Done:
    """Something that `undo` takes back: the command, and the particle that was shown."""

    command: str
    arguments: dict[str, object]
    particle: int


class Review:
    """One viewer's review. Who reviews is known from the audit: both have one field for the name."""

    def __init__(self, view: RecordView, asking: Asking, audit: AuditPanel, crop: str, preview: str) -> None:
        """
        Parameters
        ----------
        crop, preview : addresses of the pictures of a particle and of a frame.
        """
        self._view = view
        self._asking = asking
        self._audit = audit
        self._crop = crop
        self._preview = preview
        self._state = ReviewState()
        self._queue: list[int] = []
        """`particles.id`: it stays in its order while somebody goes through it."""
        self._said_here: dict[int, str] = {}
        """Classes that were told here; the session may not have answered yet."""
        self._at = 0
        self._done: list[_Done] = []
        self._later = False
        """The sample was put off."""
        self._whole = False
        """The whole frame is shown, for a missed particle to be marked."""
        self._said = ""
        self.root = Div(name="review", text="", sizing_mode="stretch_both", margin=0)
        self.root.stylesheets = [text_sheet("review", ":host { overflow: hidden auto; }")]
        handlers = {
            "label": self._label, "move": self._move, "undo": self._undo, "later": self._put_off,
            "whole": self._switch, "missed": self._missed, "withdraw": self._withdraw, "again": self._again,
            "draw": self._draw_sample,
        }  # fmt: skip
        for what, handler in handlers.items():
            asking.on(f"review-{what}", handler)

    @property
    def shown(self) -> Doubtful | None:
        """The particle that is shown."""
        known = {each.particle: each for each in self._state.doubtful}
        return known.get(self._queue[self._at]) if self._at < len(self._queue) else None

    def update(self, _snapshot: Snapshot, _now: float) -> None:
        """Show what there is to review; sends nothing where nothing is different."""
        self._draw()

    # -- what is asked ---------------------------------------------------------------------------------------

    def _label(self, value: str) -> None:
        number, _, name = value.partition(":")
        shown, observer = self.shown, self._audit.observer
        if shown is None or number != str(shown.particle) or name not in CLASSES or not observer:
            return
        before = None if shown.corrected is None else shown.corrected.particle_class
        place = {"frame": shown.frame, "label": shown.label, "observer": observer}
        self._done.append(_Done(CORRECT, {**place, "class": before}, shown.particle))
        self._said_here[shown.particle] = name
        self._ask(CORRECT, {**place, "class": name}, lambda _done: self._said_here.pop(shown.particle, None))
        self._at = min(self._at + 1, len(self._queue))
        self._draw()

    def _move(self, value: str) -> None:
        step = {"-1": -1, "1": 1}.get(value, 0)  # 0: the name was given, and buttons are free
        self._at = min(max(0, self._at + step), len(self._queue))
        self._said = ""
        self._draw()

    def _undo(self, _value: str) -> None:
        if not self._done or not self._audit.observer:
            return
        done = self._done.pop()
        arguments = done.arguments
        if done.command == WITHDRAW:
            marks = [mark for mark in self._view.review("", 0).missed if mark.frame == arguments["frame"]]
            mine = [mark for mark in marks if mark.observer == arguments["observer"]]
            if not mine:
                return
            arguments = {"command": mine[-1].command, "observer": arguments["observer"]}
        self._said_here.pop(done.particle, None)
        if done.particle in self._queue:
            self._at = self._queue.index(done.particle)
        self._ask(done.command, arguments)
        self._draw()

    def _put_off(self, _value: str) -> None:
        self._later = True
        self._draw()

    def _switch(self, _value: str) -> None:
        self._whole = not self._whole
        self._draw()

    def _again(self, _value: str) -> None:
        self._queue, self._said_here, self._at, self._later = [], {}, 0, False
        self._draw()

    def _draw_sample(self, _value: str) -> None:
        self._ask("audit", {"number": NUMBER})
        self._draw()

    def _missed(self, value: str) -> None:
        """`frame:row:col:diameter`, in pixels and nm; the diameter may be empty."""
        observer, shown = self._audit.observer, self.shown
        try:
            frame, row, col, diameter = value.split(":")
            place: dict[str, object] = {"frame": int(frame), "row": float(row), "col": float(col)}
            place["diameter_nm"] = float(diameter) if diameter else None
        except ValueError:
            return
        if not observer or shown is None or place["frame"] != shown.frame:
            return
        self._done.append(_Done(WITHDRAW, {"frame": shown.frame, "observer": observer}, shown.particle))
        self._ask(MISSED, {**place, "observer": observer}, lambda done: done or self._done.pop())
        self._draw()

    def _withdraw(self, value: str) -> None:
        if value.isdigit() and self._audit.observer:
            self._ask(WITHDRAW, {"command": int(value), "observer": self._audit.observer})
            self._draw()

    def _ask(
        self, command: str, arguments: dict[str, object], then: Callable[[bool], object] = lambda _done: None
    ) -> None:
        self._said = "asked …"

        def answered(accepted: bool | None, said: str) -> None:
            if accepted is not None:
                then(accepted)
            self._said = said
            self._draw()

        self._asking.command(command, arguments, answered)

    # -- what is shown ---------------------------------------------------------------------------------------

    def _draw(self) -> None:
        observer = self._audit.observer
        room = QUEUE - len(self._queue)
        self._state = self._view.review(observer, room, frozenset(self._queue))
        known = [each.particle for each in self._state.doubtful]
        self._queue = [number for number in self._queue if number in known]
        self._queue += [number for number in known if number not in self._queue]
        self._at = min(self._at, len(self._queue))
        if not self._later and (self._state.waiting or not self._state.drawn):
            text = sample_card(self._state)
        else:
            text = self._doubtful()
        text += f'<p class="said" role="status">{escape(self._said)}</p>{what_counts(self._state)}'
        if text != self.root.text:
            self.root.text = text

    def _doubtful(self) -> str:
        shown = self.shown
        if shown is None:
            return doubtful_card(None, len(self._queue), self._at, may_undo=bool(self._done))
        sighting = self._view.sighting(shown.particle)
        frame = self._view.frame(shown.frame)
        marks = [mark for mark in self._state.missed if mark.frame == shown.frame]
        seen = "" if sighting is None else picture(
            sighting, frame if self._whole else None, marks, self._preview if self._whole else self._crop
        )  # fmt: skip
        told = self._said_here.get(shown.particle)
        card = doubtful_card(
            Shown(shown, told, self._audit.observer, self._whole, marks),
            len(self._queue), self._at, may_undo=bool(self._done),
        )  # fmt: skip
        return f'<div class="pair">{seen}{card}</div>'
