"""How the page looks: the classes' colours and shapes, the dark theme, numbers and times as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from bokeh.models import InlineStyleSheet

from models.results import CLASSES

BACK = "#0b0e12"
PANEL = "#12171d"
LINE = "#252d37"
TEXT = "#d5dce4"
DIM = "#8d99a6"
GOOD = "#2fbf91"
WARN = "#f0e442"
BAD = "#ff7043"
ACCENT = "#56b4e9"
INK = "#0a0d11"
"""Dark on a micrograph or on a class's colour, in every theme."""
CHALK = "#fefefe"
"""Light on a micrograph, in every theme."""
#: Style sheets, the script and the pages.
TEMPLATES = Path(__file__).parent / "templates"
SANS = "'Inter', 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', 'DejaVu Sans', Arial, sans-serif"


#: What lies side by side comes one below the other in a narrow window.
STACKED = "@media (max-width: 900px) { :host { flex-direction: column !important; } }"


@dataclass(frozen=True)
class ClassStyle:
    """How one class of particle is drawn: never by colour alone."""

    colour: str
    """Out of Okabe and Ito's palette, which the colour-blind can tell apart."""
    letter: str
    dash: str
    hatch: str
    words: str


CLASS_STYLES: dict[str, ClassStyle] = {
    "yes": ClassStyle("#e69f00", "Y", "solid", " ", "fault seen"),
    "no": ClassStyle("#56b4e9", "N", "solid", "/", "would show, none seen"),
    "null": ClassStyle("#cc79a7", "?", "10 5", "x", "a fault would not show"),
    "empty": ClassStyle("#c3ccd5", "E", "3 4", ".", "no particle"),
}
#: What matters most comes first on the page.
SHOWN_ORDER: tuple[str, ...] = ("yes", "no", "null", "empty")
assert set(SHOWN_ORDER) == set(CLASSES)


def text_sheet(name: str, css: str = "") -> InlineStyleSheet:
    """The style sheet of a block of text: what all of them share, `templates/blocks/<name>.css`, and `css`."""
    return InlineStyleSheet(name=f"{name}_style", css=_shared_css() + _own_css(name) + css)


def widget_sheet(name: str, css: str) -> InlineStyleSheet:
    """The style sheet of something to click on."""
    return InlineStyleSheet(name=f"{name}_style", css=css)


@cache
def _shared_css() -> str:
    return (TEMPLATES / "blocks.css").read_text(encoding="utf-8")


@cache
def _own_css(name: str) -> str:
    sheet = TEMPLATES / "blocks" / f"{name}.css"
    return sheet.read_text(encoding="utf-8") if sheet.exists() else ""


def percent(value: float | None, digits: int = 1) -> str:
    """A share as text, an em dash where there is none."""
    return "—" if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, unit: str = "", digits: int = 1) -> str:
    """A number with its unit as text, an em dash where there is none."""
    if value is None:
        return "—"
    return f"{value:,.{digits}f}\u202f{unit}" if unit else f"{value:,.{digits}f}"


def milliseconds(value: float | None) -> str:
    """A delay as text: milliseconds below one second, seconds above."""
    if value is None or value < 1000:
        return number(value, "ms", 0)
    return number(value / 1000, "s", 1 if value < 100_000 else 0)


def clock_time(at: float | None, now: float) -> str:
    """A moment in local time, with its day where that is not today's."""
    if at is None:
        return "—"
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now).date()
    return then.strftime("%H:%M:%S" if then.date() == today else "%Y-%m-%d %H:%M:%S")


def name_all(roots: Iterable[Any]) -> None:
    """Give every model below `roots` that has no name one that is its own, after its root."""
    seen: set[str] = set()
    for root in roots:
        count: dict[str, int] = {}
        for model in sorted(root.references(), key=lambda model: int(model.id.lstrip("p"))):
            kind = type(model).__name__
            if model.name is None:
                count[kind] = count.get(kind, 0) + 1
                model.name = f"{root.name}_{kind}_{count[kind]}"
            if model.name in seen:
                raise ValueError(f"two models are called {model.name!r}")
            seen.add(model.name)
