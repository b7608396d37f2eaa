"""Which frames count."""

from __future__ import annotations

from typing import Any


def uncounted(quality: dict[str, Any]) -> str | None:
    """Why the particles of a frame are shown and not counted, by its quality figures; None: they are counted."""
    if quality.get("repeated"):
        return "it has the pixels of another frame"
    if quality.get("verdict") == "constant":
        return "it is blank"
    if quality.get("scanning"):
        return "it is no HRTEM image"
    return None
