"""The looks of the page, dark and light: Bokeh's models, which know nothing of the style sheets' colours."""

from __future__ import annotations

from typing import Any

from bokeh.themes import Theme

from dashboard.style import BACK, BAD, CLASS_STYLES, DIM, GOOD, LINE, PANEL, SANS, TEXT, WARN

DARK = "dark"
LIGHT = "light"
BRIGHT = "#ffffff"
YES = CLASS_STYLES["yes"].colour
#: What a colour of the dark look is in the light one; the same colours stand in `templates/page.css`.
_LIGHT = {
    BACK: "#f4f6f8", PANEL: "#fefeff", LINE: "#d9dee4", TEXT: "#27313b", DIM: "#5b6672", GOOD: "#0b7a55",
    WARN: "#7d6200", BAD: "#b3330f", BRIGHT: "#0c0f13", "#35404c": "#b9c2cc", "#56616d": "#76818d",
    YES: "#a96f00",
}  # fmt: skip


def _theme(of: dict[str, str]) -> Theme:
    """Bokeh's models in the colours of the dark look, put through `of`."""
    line, panel, dim, text = of[LINE], of[PANEL], of[DIM], of[TEXT]
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": panel,
                    "border_fill_color": panel,
                    "outline_line_color": line,
                    "min_border": 4,
                },
                "Grid": {"grid_line_color": line, "grid_line_alpha": 0.8},
                "Axis": {
                    "axis_line_color": line,
                    "major_tick_line_color": dim,
                    "minor_tick_line_color": None,
                    "major_label_text_color": dim,
                    "major_label_text_font": SANS,
                    "major_label_text_font_size": "12px",
                    "axis_label_text_color": dim,
                    "axis_label_text_font": SANS,
                    "axis_label_text_font_size": "12px",
                    "axis_label_text_font_style": "normal",
                    "axis_label_standoff": 4,
                },
                "Legend": {
                    "background_fill_color": panel,
                    "background_fill_alpha": 0.8,
                    "border_line_color": None,
                    "label_text_color": text,
                    "label_text_font": SANS,
                    "label_text_font_size": "12px",
                    "padding": 4,
                    "spacing": 2,
                    "margin": 4,
                },
            }
        }
    )


_SAME = {colour: colour for colour in _LIGHT}
THEMES = {DARK: _theme(_SAME), LIGHT: _theme(_LIGHT)}


def switch(doc: Any, look: str) -> None:
    """Give every model of a Document the colours of a look, `dark` or `light`; another name changes nothing.

    Colours in data (outlines on the micrograph) stay: they lie on pictures, which have no look.
    """
    if look not in THEMES or doc.theme is THEMES[look]:
        return
    to = _LIGHT if look == LIGHT else {light: dark for dark, light in _LIGHT.items()}
    doc.theme = THEMES[look]
    for model in doc.models:
        for name, value in list(model.properties_with_values(include_defaults=False).items()):
            # Of glyphs a colour stands in a specification that could name a column too.
            plain = getattr(value, "value", value)
            area = "fill" in name and plain in (YES, _LIGHT[YES])  # is seen well enough in both
            if isinstance(plain, str) and plain in to and not area:
                setattr(model, name, to[plain])
