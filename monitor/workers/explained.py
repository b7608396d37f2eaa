"""Explaining one particle of a recorded frame, in a process of its own: the frame is read and judged anew.

Nothing heavy is imported at the head, for the module is imported where only its plain data are needed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.frames import MovieMode

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.bundle import Bundle
    from models.explain.explanation import Explanation
    from models.features.measure import Seen
    from models.results import Analysis, Particle

#: The analyses of so many frames are kept: their other particles are then explained at once.
_KEPT = 2
#: Two outlines whose boxes share less of their area (over their union) are not the same particle.
_SAME = 0.5
#: Grey levels of a spectrum: the power over the ground from which it is black, and the least that is white.
_BLACK, _WHITE = 0.5, 30.0


@dataclass(frozen=True)
class ToExplain:
    """One particle as it was recorded, and how its frame was judged."""

    path: Path
    item: int | None
    file_size: int | None
    file_mtime_ns: int | None
    """Of the file that was judged; None: not kept."""
    movie: MovieMode
    height: int
    width: int
    pixel_size_nm: float
    material: str | None
    bundle: str
    bundle_path: Path
    label: int
    bbox: tuple[int, int, int, int]
    indexed_for: str | None
    """The material whose indices the spots are given."""

    @property
    def frame(self) -> tuple[object, ...]:
        """Whatever the analysis of the frame depends on."""
        return (
            self.path, self.item, self.file_size, self.file_mtime_ns, self.movie, self.height, self.width,
            self.pixel_size_nm, self.material, self.bundle, self.bundle_path,
        )  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """What was found of a particle, and where it lies."""

    explanation: Explanation
    origin: tuple[float, float]
    """Row and column in the frame of the point from which the stack's places are told [px]."""
    middle: tuple[float, float]
    """Row and column in the frame of the region's middle [px]."""
    reach_nm: float
    """Half the width of the region across the stacking direction [nm]; 0 without a stack."""
    spectrum: bytes
    """PNG, the particle's power over the ground's, logarithmic; zero frequency in the middle."""
    spectrum_per_nm: float
    """From the middle of the spectrum to its border [nm⁻¹]."""


@dataclass(frozen=True)
class NotExplained:
    """Why a particle can't be explained."""

    reason: str
    """A sentence."""
    file: bool = True
    """The frame's own file is there as it was judged; else nothing of the particle is left but its preview."""


_analyses: OrderedDict[tuple[object, ...], Analysis] = OrderedDict()
_bundle: tuple[tuple[str, Path], Bundle] | None = None


def explained(task: ToExplain) -> Explained | NotExplained:
    """Read the frame, judge it by the bundle that judged it in the session, and explain one particle."""
    from models.errors import CannotAnalyse, ModelError
    from monitor.errors import InputError, UnreadableFrame

    try:
        if (why := _not_as_judged(task)) is not None:
            return NotExplained(why, file=False)
        bundle = _loaded(task)
        return _explained(task, bundle, _analysed(task, bundle))
    except UnreadableFrame as error:
        return NotExplained(f"It can't be explained: {error}.", file=False)
    except (CannotAnalyse, ModelError, InputError) as error:
        return NotExplained(f"It can't be explained: {error}.")
    except OSError as error:
        return NotExplained(f"The frame's file {task.path.name} can't be read: {error.strerror}.", file=False)
    except MemoryError:
        return NotExplained("There is not enough memory to explain it.")


def _not_as_judged(task: ToExplain) -> str | None:
    """Why the frame's file is not the one that was judged, a sentence; None: it is."""
    try:
        status = task.path.stat()
    except OSError:
        return f"What counted can't be worked out: the frame's file {task.path.name} is no longer there."
    known = task.file_size, task.file_mtime_ns
    if None not in known and known != (status.st_size, status.st_mtime_ns):
        return f"What counted can't be worked out: the frame's file {task.path.name} was changed after it was judged."
    return None


def _loaded(task: ToExplain) -> Bundle:
    from models.bundle import SHIPPED, describe, load_bundle
    from models.errors import BundleRefused

    global _bundle
    wanted = task.bundle, task.bundle_path
    if _bundle is not None and _bundle[0] == wanted:
        return _bundle[1]
    for folder in (task.bundle_path, SHIPPED):
        try:
            found = describe(folder)[0] == task.bundle
        except (BundleRefused, OSError, json.JSONDecodeError):
            continue
        if found:
            _bundle = wanted, load_bundle(folder, "cpu")
            return _bundle[1]
    raise BundleRefused(f"the bundle {task.bundle} that judged it is no longer in {task.bundle_path}")


def _analysed(task: ToExplain, bundle: Bundle) -> Analysis:
    from models.analysis import analyse
    from monitor.errors import UnreadableFrame
    from monitor.read.files import open_frames

    if task.frame not in _analyses:
        with open_frames(task.path, task.movie) as file:
            pixels = file.frame(task.item or 0).pixels
        if pixels.shape != (task.height, task.width):
            raise UnreadableFrame(f"the file {task.path.name} holds another picture than was judged")
        _analyses[task.frame] = analyse(pixels, task.pixel_size_nm, bundle, task.material, keep=True)
        while len(_analyses) > _KEPT:
            _analyses.popitem(last=False)
    _analyses.move_to_end(task.frame)
    return _analyses[task.frame]


def _explained(task: ToExplain, bundle: Bundle, analysis: Analysis) -> Explained | NotExplained:
    from models.explain.explanation import Explainer

    particle = _same(task, analysis.particles)
    if particle is None:
        return NotExplained("Judged anew, the frame does not show this particle; it was recorded otherwise.")
    explanation = Explainer(bundle, task.indexed_for).explain(particle, particle.label)
    measured = particle.measured
    assert measured is not None  # else it could not have been explained
    assert measured.seen is not None
    seen = measured.seen
    import numpy as np

    rows, cols = np.nonzero(seen.mask)
    step = seen.pixel_size_nm / task.pixel_size_nm  # frame pixels a canonical one
    # A region larger than the transform is cut: then its box does not begin where the crop's mask does.
    whole = (np.ptp(rows) + 1.5) * step >= particle.bbox[2] - particle.bbox[0] - 1
    centre = rows.mean() * step, cols.mean() * step
    if whole:
        origin = (particle.bbox[0] - rows.min() * step, particle.bbox[1] - cols.min() * step)
    else:
        origin = (particle.centroid[0] - centre[0], particle.centroid[1] - centre[1])
    png, reach = spectrum_png(seen)
    across = 0.0
    if explanation.stack is not None:
        a, b = explanation.stack.along
        across = float(np.ptp(-rows * b + cols * a)) * seen.pixel_size_nm / 2
    return Explained(
        explanation,
        (float(origin[0]), float(origin[1])),
        (float(origin[0] + centre[0]), float(origin[1] + centre[1])),
        across,
        png,
        reach,
    )


def _same(task: ToExplain, particles: tuple[Particle, ...]) -> Particle | None:
    """The particle of the analysis that is the recorded one: on another device its number may be another."""
    best = max(particles, key=lambda each: _overlap(each.bbox, task.bbox), default=None)
    return None if best is None or _overlap(best.bbox, task.bbox) < _SAME else best


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    rows = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    cols = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return rows * cols / max(1, sum(areas) - rows * cols)


def spectrum_png(seen: Seen) -> tuple[bytes, float]:
    """A particle's power over the ground's as PNG, and how far it reaches from its middle [nm⁻¹]."""
    import cv2
    import numpy as np

    ratio: npt.NDArray[Any] = cv2.GaussianBlur(seen.spectrum().plane(), (0, 0), 0.8)
    low, high = np.log10(_BLACK), np.log10(max(_WHITE, float(ratio.max())))
    level = (np.log10(np.maximum(ratio, 1e-3)) - low) / (high - low)
    done, png = cv2.imencode(".png", (level * 255).clip(0, 255).astype(np.uint8))
    assert done
    return png.tobytes(), 0.5 / seen.pixel_size_nm
