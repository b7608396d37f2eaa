"""What is clicked in blocks of text, as the page's script hands it over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.models import ColumnDataSource

Clicked = Callable[[str], None]


class Clicks:
    """Handlers of clicks, by name.

    A button in a block of text carries `data-ask` and `data-value`; the page's script puts both into `source` when it
    is clicked, and the handler for that name is called with the value.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Clicked] = {}
        self.source = ColumnDataSource(name="asked_source", data={"what": [], "value": []})
        self.source.on_change("data", self._clicked)

    def on(self, what: str, handler: Clicked) -> None:
        """Call `handler` with the value of every click on a button for `what`."""
        self._handlers[what] = handler

    def _clicked(self, _attr: str, _old: object, new: dict[str, Any]) -> None:
        for what, value in zip(new.get("what", ()), new.get("value", ()), strict=False):
            handler = self._handlers.get(str(what))
            if handler is not None:
                handler(str(value))
