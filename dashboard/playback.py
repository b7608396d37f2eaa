"""Playing a session back: its frames in the order and at the pace in which they were acquired."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from bokeh.models import Button, RadioButtonGroup

from dashboard.components.fraction import BUTTONS
from dashboard.components.live_frame import WIDGET_CSS, LiveFrame
from dashboard.style import widget_sheet
from dashboard.view import RecordView

SPEEDS = (1, 10)
LONGEST_S = 5.0
"""A gap between two frames that is longer is shortened to this, at 1x [s]."""
STEP_MS = 100
"""How often it is looked whether the next frame is due [ms]."""
MOST_AT_ONCE = 50
"""Frames passed over in one look: faster than that nothing is played."""
PLAY, PAUSE = "play", "❚❚ pause"


class Playback:
    """Play, pause and the speed, beside the slider of the frame.

    At 1x frames follow one another as they were acquired, but gaps beyond `LONGEST_S` are shortened to it. From
    live, playing begins at the first frame; after the last one the frame is live again. Whatever else is chosen to
    be looked at pauses it.
    """

    def __init__(
        self, frame: LiveFrame, view: RecordView, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._frame = frame
        self._view = view
        self._timer = timer
        self._clock: Any = None
        self._due = 0.0
        self._next: tuple[int, float] | None = None
        self._moving = False
        self.playing = False
        self.button = Button(
            name="playback_play",
            label=PLAY,
            width=84,
            stylesheets=[widget_sheet("playback_play", WIDGET_CSS)],
        )
        self.speed = RadioButtonGroup(
            name="playback_speed", labels=[f"{speed}×" for speed in SPEEDS], active=0, width=76, height=31,
            styles={"align-self": "center"},
            html_attributes={"title": f"1×: as acquired; gaps longer than {LONGEST_S:.0f} s are shortened to that"},
            stylesheets=[widget_sheet("playback_speed", BUTTONS)],
        )  # fmt: skip
        self.button.on_click(self.toggle)
        frame.controls.stylesheets = [widget_sheet("frame_controls", _CONTROLS)]
        frame.controls.children = [
            *frame.controls.children[:-1],
            self.button,
            self.speed,
            frame.controls.children[-1],
        ]
        frame.looked.append(self._looked)

    def toggle(self) -> None:
        """Play, or pause."""
        if self.playing:
            self.pause()
        else:
            self.play()

    def play(self) -> None:
        """Play from the frame that is looked at; from the first one where it is live or the last."""
        shown = self._frame.looked_back_at
        begin = None if shown is None else self._view.next_in_time(shown)
        first = None if begin is not None else self._view.next_in_time(None)
        if begin is None and first is None:
            return
        self._set(True)
        if begin is None and first is not None:
            self._look(first[0])
            self._next = self._view.next_in_time(first[0])
            self._plan(first[1])
        elif shown is not None:
            self._next = begin
            self._plan(self._view.acquired(shown))

    def pause(self) -> None:
        """Stay at the frame that is looked at."""
        self._set(False)

    def step(self) -> None:
        """Go on to the frame that is due by now."""
        try:
            self._step()
        except sqlite3.Error:  # the record can't be read just now; the next look will tell
            return

    def _step(self) -> None:
        if not self.playing:
            return
        due: int | None = None
        for _ in range(MOST_AT_ONCE):
            if self._next is None or self._due > self._timer():
                break
            due, at = self._next
            self._next = self._view.next_in_time(due)
            self._plan(at)
        else:
            self._due = self._timer()  # it can't keep up, and doesn't try to make up for it
        if due is not None:
            self._look(due)
        if self._next is None:
            self._set(False)
            self._frame.live.active = True

    def _plan(self, at: float | None) -> None:
        """When the next frame is due, after one that was acquired at `at`."""
        if self._next is not None:
            gap = LONGEST_S if at is None else min(max(0.0, self._next[1] - at), LONGEST_S)
            begin = max(self._due, self._timer() - 1.0)
            self._due = begin + gap / SPEEDS[self.speed.active or 0]

    def _look(self, frame_id: int) -> None:
        self._moving = True
        try:
            self._frame.look_at(frame_id)
        finally:
            self._moving = False

    def _looked(self) -> None:
        if self.playing and not self._moving:
            self.pause()

    def _set(self, playing: bool) -> None:
        self.playing = playing
        self._due = self._timer()
        self.button.label = PAUSE if playing else PLAY
        document = self.button.document
        if document is None:
            return
        if playing and self._clock is None:
            self._clock = document.add_periodic_callback(self.step, STEP_MS)
        elif not playing and self._clock is not None:
            document.remove_periodic_callback(self._clock)
            self._clock = None


_CONTROLS = """
@media (max-width: 900px) {
  :host { flex-wrap: wrap !important; height: 86px !important; flex: 0 0 86px !important; }
}
"""
