"""Explanations as files: for every particle of a frame a picture and, beside it, the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.results import Analysis, Particle
from monitor.errors import InputError

if TYPE_CHECKING:
    from models.explain.explanation import Explanation

#: Explains the n-th particle of a frame; see `models.explain.explanation.Explainer`.
Explain = Callable[[Particle, int], "Explanation"]


def write_explanations(
    folder: Path, stem: str, frame: str, index: int | None, analysis: Analysis, explain: Explain
) -> None:
    """Write `<stem>-<number>.png` and `.json` for every particle of a frame, numbered as in its mask, from 1.

    Parameters
    ----------
    frame, index : the file as given and the frame in it; `None` where it is the only one.

    Raises
    ------
    InputError
        A file can't be written.
    """
    from models.explain.picture import as_png, picture  # matplotlib, only needed where it is asked for

    for number, particle in enumerate(analysis.particles, start=1):
        explanation = explain(particle, number)
        where = Path(frame).name if index is None else f"{Path(frame).name} [{index}]"
        told = {
            "frame": frame,
            "index": index or 0,
            "bundle": analysis.bundle,
            "bbox": [int(side) for side in particle.bbox],
            "centroid": [float(value) for value in particle.centroid],
            **explanation.as_dict(),
        }
        path = folder / f"{stem}-{number}.png"
        measured = particle.measured
        assert measured is not None  # else it could not have been explained
        assert measured.seen is not None
        try:
            path.write_bytes(as_png(picture(explanation, measured.seen, f"{where}, particle {number}")))
            text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)
            path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the explanation {path} can't be written: {error.strerror}", path=path
            ) from error
