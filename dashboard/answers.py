"""Answers of costly routes that are kept for other viewers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

#: So many answers are kept, and so many characters of them.
KEPT = 24
KEPT_CHARACTERS = 32_000_000


class Answers:
    """The last answers; used on the server's loop alone."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[Any, ...], str] = OrderedDict()

    def get(self, key: tuple[Any, ...]) -> str | None:
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def keep(self, key: tuple[Any, ...], answer: str) -> None:
        self._answers[key] = answer
        while len(self._answers) > KEPT or sum(map(len, self._answers.values())) > KEPT_CHARACTERS:
            self._answers.popitem(last=False)
