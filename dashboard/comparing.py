"""Two sessions side by side: the difference of their fractions, as `faultwatch summary --compare` tells it."""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import Any

from bokeh.models import Div

from dashboard.style import percent, text_sheet
from monitor.errors import FaultwatchError
from monitor.record.summary import compared


class Comparison:
    """Up to two chosen sessions of a folder, and what became of comparing them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.chosen: list[str] = []
        """Names, in the order in which they were chosen."""
        self._found: dict[str, Any] | str | None = None
        self._thread: threading.Thread | None = None
        self.root = Div(name="comparison", text="", stylesheets=[text_sheet("comparison")])
        self.root.sizing_mode = "stretch_width"

    def choose(self, name: str) -> None:
        """Choose a session, or let go of one that is chosen; of three the oldest choice is let go."""
        if name in self.chosen:
            self.chosen.remove(name)
        else:
            self.chosen = [*self.chosen, name][-2:]
        self._found, self._thread = None, None
        self.again()
        self.update()

    def again(self) -> None:
        """Compare the chosen two as they stand by now; what was found stays until that is done."""
        if len(self.chosen) == 2 and (self._thread is None or not self._thread.is_alive()):
            pair = list(self.chosen)
            self._thread = threading.Thread(target=self._compare, args=(pair,), daemon=True)
            self._thread.start()  # a long session takes a moment, and others look at the page

    def update(self) -> None:
        """Show what was found; sends nothing where nothing is different."""
        text = self._text()
        if text != self.root.text:
            self.root.text = text

    def _compare(self, pair: list[str]) -> None:
        try:
            found: dict[str, Any] | str = compared(*(self._directory / name for name in pair))
        except (FaultwatchError, OSError) as error:
            found = str(error)
        if pair == self.chosen:
            self._found = found

    def _text(self) -> str:
        if not self.chosen:
            return ""
        if len(self.chosen) == 1:
            return (
                f'<p class="dim">Choose another session to compare <b>{escape(self.chosen[0])}</b> with.</p>'
            )
        if self._found is None:
            return '<p class="dim">working …</p>'
        if isinstance(self._found, str):
            return f'<p class="warn">▲ {escape(self._found)}</p>'
        return comparison_text(self.chosen, self._found)


def comparison_text(names: list[str], found: dict[str, Any]) -> str:
    """Two fractions on one axis and the sentence of their difference.

    Parameters
    ----------
    names : of both sessions.
    found : as `monitor.record.summary.compared` gives it.
    """
    said = found["compare"]
    rows = "".join(
        _bar(name, fraction)
        for name, fraction in zip(names, (found["fraction"], said["fraction"]), strict=True)
    )
    if said["difference"] is None:
        sentence = escape(str(said["reason"]))
    else:
        low, high = said["interval"]
        apart = "does not hold 0" if said["apart"] else "holds 0: they may be the same"
        sentence = (
            f"difference <b>{100 * said['difference']:+.1f} %</b>, 95 % interval {100 * low:+.1f} to"
            f" {100 * high:+.1f} %: the interval {apart}"
        )
    return f'<table class="pair">{rows}</table><p>{sentence}</p>'


def _bar(name: str, fraction: dict[str, Any]) -> str:
    drawn, said = "", "no interval"
    if fraction["interval"] is not None:
        low, high = fraction["interval"]
        drawn = (
            f'<i class="range" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
            f'<i class="point" style="left:{100 * fraction["corrected"]:.2f}%"></i>'
        )
        said = f"{percent(fraction['corrected'])} ({percent(low)} to {percent(high)})"
    return f'<tr><th>{escape(name)}</th><td class="axis"><div>{drawn}</div></td><td>{said}</td></tr>'
