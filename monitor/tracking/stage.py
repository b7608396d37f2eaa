"""Where the stage stood, where a frame's metadata tell it."""

from __future__ import annotations

import math
from typing import Any

#: Names of the pair (x, y) of stage coordinates in metadata of several programs, and one unit in nm.
_PAIRS: tuple[tuple[tuple[str, str], float], ...] = (
    (("stage_x_nm", "stage_y_nm"), 1.0),
    (("stage_x_um", "stage_y_um"), 1e3),
    (("StagePositionX", "StagePositionY"), 1e9),
    (("Stage X", "Stage Y"), 1e3),
    (("x_stage", "y_stage"), 1e9),
)


def stage_nm(metadata: dict[str, Any]) -> tuple[float, float] | None:
    """(row, column) = (y, x) of the stage [nm]; None where it is not told, or told as exactly 0, 0."""
    for (x_name, y_name), unit in _PAIRS:
        x, y = metadata.get(x_name), metadata.get(y_name)
        if (
            isinstance(x, int | float)
            and isinstance(y, int | float)
            and math.isfinite(x)
            and math.isfinite(y)
        ):
            return None if x == y == 0 else (y * unit, x * unit)
    position = metadata.get("StagePosition")
    if isinstance(position, str):  # SerialEM: micrometres
        try:
            x, y = (float(part) * 1e3 for part in position.split()[:2])
        except ValueError:
            return None
        return (y, x)
    return None
