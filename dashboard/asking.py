"""What a viewer asks: clicks that the page's script hands over, commands to the session, and its answers."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.clicks import Clicks
from dashboard.view import RecordView
from monitor.errors import InputError, NoSession
from monitor.record.answering import answer
from monitor.record.commands import ask

log = logging.getLogger("faultwatch.dashboard")

#: A session that runs answers sooner than this [s]; where none runs, this process answers in its place.
UNANSWERED_S = 1.5
#: A session that runs answers within this time [s].
PATIENCE_S = 5.0
NO_ANSWER = "no answer yet; what was asked stays in the record, and the session answers when it runs"

LOOK_ONLY = "this link is for looking only; ask for the operator's link"

Answered = Callable[[bool | None, str], None]
"""Told whether the session did it, None while that is not known, and its sentence."""


@dataclass
class _Pending:
    command: int
    since: float
    then: Answered
    handed_over: bool = False
    late: bool = False


class Asking(Clicks):
    """One viewer's way to the session: clicks, commands, answers."""

    def __init__(self, view: RecordView, clock: Callable[[], float], *, may_ask: bool = True) -> None:
        """
        Parameters
        ----------
        may_ask : whether this viewer may ask the session for something; all of it is refused otherwise.
        """
        super().__init__()
        self.may_ask = may_ask
        self._view = view
        self._clock = clock
        self._pending: list[_Pending] = []
        self._answering: threading.Thread | None = None

    def command(self, name: str, arguments: dict[str, Any], then: Answered) -> None:
        """Put a command into the record; `then` is called with the session's answer, at once where there is none."""
        if not self.may_ask:
            then(False, LOOK_ONLY)
            return
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
                continue
            if not pending.handed_over and now - pending.since > UNANSWERED_S:
                pending.handed_over = True
                self._answer_here()
            if not pending.late and now - pending.since > PATIENCE_S:
                pending.late = True
                pending.then(None, NO_ANSWER)

    def _answer_here(self) -> None:
        """Answer in another thread, if no session runs that will: it takes a moment, and others look at the page."""
        if self._answering is None or not self._answering.is_alive():
            self._answering = threading.Thread(
                target=_answered, args=(self._view.directory, self._clock()), daemon=True
            )
            self._answering.start()


def _answered(directory: Path, at: float) -> None:
    try:
        answer(directory, at)
    except (InputError, sqlite3.Error) as error:
        log.warning("event=not-answered session=%s reason=%r", directory, str(error))
