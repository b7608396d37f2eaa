"""The original metadata of any format as plain JSON values."""

from __future__ import annotations

import datetime
import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

#: Longer arrays in the metadata (thumbnails, gain tables) are replaced by a sentence.
LONGEST_ARRAY = 4096
_DEEPEST = 40


def jsonable(value: Any, _depth: int = 0) -> Any:
    """The same value made only of dicts, lists, strings, numbers, booleans and None.

    NaN and infinities, which JSON does not have, become strings. Bytes are decoded. An array of more than 4096
    elements becomes a sentence with its shape and type.
    """
    if value is None or isinstance(value, bool | int | str):
        return value if not isinstance(value, enum.Enum) else value.name
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return _text(value) if len(value) <= 64 * LONGEST_ARRAY else f"{len(value)} bytes, left out"
    if _depth > _DEEPEST:
        return "nested too deeply, left out"
    if isinstance(value, np.generic):
        return jsonable(value.item(), _depth + 1) if value.dtype.kind != "V" else _record(value, _depth)
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "S" and value.ndim == 0:
            return _text(bytes(value.item()))
        if value.size > LONGEST_ARRAY or value.dtype.kind == "V":
            return f"array of {value.shape} {value.dtype}, left out"
        return jsonable(value.tolist(), _depth + 1)
    if isinstance(value, complex):
        return [jsonable(value.real), jsonable(value.imag)]
    if isinstance(value, Mapping):
        return {str(_key(key)): jsonable(entry, _depth + 1) for key, entry in value.items()}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Iterable):
        entries = list(value)
        if len(entries) > LONGEST_ARRAY:
            return f"list of {len(entries)} entries, left out"
        return [jsonable(entry, _depth + 1) for entry in entries]
    return str(value)


def _record(value: np.generic, depth: int) -> Any:
    names = value.dtype.names
    if names is None:
        return _text(value.tobytes())
    return {name: jsonable(entry, depth + 1) for name, entry in zip(names, value.tolist(), strict=True)}


def _key(key: Any) -> Any:
    return _text(key) if isinstance(key, bytes) else key


def _text(raw: bytes) -> str:
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
