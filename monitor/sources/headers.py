"""JSON as it comes over a wire, made safe to store: it can always be written and read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from monitor.errors import BadMessage

#: Nested more deeply than any camera's header. What is kept is read again with less room on Python's stack, and by
#: SQLite, which takes 1,000 levels.
DEEPEST = 64


def refuse(constant: str) -> Any:
    """For `constant`: NaN and infinities are no JSON."""
    raise ValueError(f"{constant} is no JSON")


def json_object(part: bytes | memoryview, constant: Callable[[str], Any] = refuse) -> dict[str, Any]:
    """The JSON object that a message part is. Halves of characters (lone surrogates) in it become `?`.

    Parameters
    ----------
    constant
        What becomes of NaN, Infinity and -Infinity, by their names.

    Raises
    ------
    BadMessage
        It is none, or nested more than 64 deep.
    """
    raw = bytes(part)
    try:
        found = json.loads(raw, parse_constant=constant)
        if b"\\u" in raw or b"\xed" in raw or b"\0" in raw[:4]:  # written in ASCII, or in another encoding
            found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    # RecursionError: deeply nested brackets.
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"no JSON header, but {raw[:40]!r}") from error
    if not isinstance(found, dict):
        raise BadMessage("a header that is no JSON object")
    if _is_deep(found):
        raise BadMessage(f"a header that is nested more than {DEEPEST} deep")
    return found


def _is_deep(found: dict[str, Any]) -> bool:
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        level = [
            inner
            for entry in level
            for inner in (entry.values() if isinstance(entry, dict) else entry)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
