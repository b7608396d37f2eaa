"""What a viewer asks: clicks that the page's script hands over, commands to the session, and its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource

from dashboard.view import RecordView
from monitor.errors import InputError, NoSession
from monitor.record.commands import ask

#: A session that runs answers within this time [s].
PATIENCE_S = 5.0
NO_ANSWER = "no answer yet: the session answers when it runs"

Clicked = Callable[[str], None]
Answered = Callable[[bool | None, str], None]
"""Told whether the session did it, None while that is not known, and its sentence."""


@dataclass
class _Pending:
    command: int
    since: float
    then: Answered
    late: bool = False


class Asking:
    """One viewer's way to the session.

    A button in a block of text carries `data-ask` and `data-value`; the page's script puts both into `source` when
    it is clicked, and the handler for that name is called with the value.
    """

    def __init__(self, view: RecordView, clock: Callable[[], float]) -> None:
        self._view = view
        self._clock = clock
        self._handlers: dict[str, Clicked] = {}
        self._pending: list[_Pending] = []
        self.source = ColumnDataSource(name="asked_source", data={"what": [], "value": []})
        self.source.on_change("data", self._clicked)

    def on(self, what: str, handler: Clicked) -> None:
        """Call `handler` with the value of every click on a button for `what`."""
        self._handlers[what] = handler

    def command(self, name: str, arguments: dict[str, Any], then: Answered) -> None:
        """Put a command into the record; `then` is called with the session's answer, at once where there is none."""
        now = self._clock()
        try:
            number = ask(self._view.directory, name, arguments, now)
        except (InputError, NoSession) as error:
            then(False, str(error))
            return
        self._pending.append(_Pending(number, now, then))

    def tick(self) -> None:
        """Look for answers to what was asked."""
        now = self._clock()
        for pending in list(self._pending):
            answer = self._view.answer(pending.command)
            if answer is not None:
                self._pending.remove(pending)
                pending.then(*answer)
            elif not pending.late and now - pending.since > PATIENCE_S:
                pending.late = True
                pending.then(None, NO_ANSWER)

    def _clicked(self, _attr: str, _old: object, new: dict[str, Any]) -> None:
        for what, value in zip(new.get("what", ()), new.get("value", ()), strict=False):
            handler = self._handlers.get(str(what))
            if handler is not None:
                handler(str(value))
