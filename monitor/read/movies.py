"""Movies of one field: the exposures of a stack are aligned, summed and judged as one frame.

A stack is taken for a movie where nothing tells that it is a series (tilts, foci, minutes between its frames), and
where consecutive exposures, or sums of a few of them where single ones are too dim, show the same field. Any other
stack is judged frame by frame. In doubt it is no movie: fields that were summed by mistake would be lost.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.frames import MovieMode
from monitor.read.alignment import Image, Match, cleaned, match, moved, reduced
from monitor.read.pixels import to_picture
from monitor.read.scale import PIXEL_SIZE_RANGE_NM
from monitor.read.signals import Details, Signal

#: A longer stack is a film of something that happens, not a fractionated exposure.
_MOST_EXPOSURES = 1000
#: Exposures over a longer time are no movie of one look [s].
_LONGEST_S = 60.0
#: Frames of one stack whose tilts or foci differ by more are a series [°, nm].
_TILT_DEG, _FOCUS_NM = 0.3, 2.0
#: So many exposures from the beginning are compared, alone or in sums of 2, 4 and 8.
_HEAD = 16
#: An exposure with less than this share of the median of all is dark: a shutter was closed.
_DARK = 0.3


@dataclass
class _Drift:
    """What was found in aligning a movie, known once it is loaded."""

    shifts: list[tuple[float, float]] = field(default_factory=list)
    """By which each exposure was moved (rows, columns) [px]."""
    dark: list[int] = field(default_factory=list)
    """The exposures that were left out."""


def as_shown(signals: Iterable[Signal], mode: MovieMode, path: Path) -> list[Signal]:
    """The signals of a file as they are judged: a movie of one field is one frame, summed or the first exposure.

    Raises
    ------
    IncompleteFile
        The file ends within an exposure that is compared.
    """
    signals = list(signals)
    if mode == "frames":
        return signals
    figures = path.stat()
    shown = []
    for place, signal in enumerate(signals):
        block = 0
        if signal.count > 1:
            key = (str(path), figures.st_size, figures.st_mtime_ns, place)
            block = _known.of(key, functools.partial(exposures_a_block, signal))
        shown.append(signal if block == 0 else _one_frame(signal, block, mode))
    return shown


class _Known:
    """The decisions of this process: a worker opens a file once for each of its frames."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Any, ...], int] = {}

    def of(self, key: tuple[Any, ...], decide: functools.partial[int]) -> int:
        """What was decided of a signal; decided now where it is new."""
        if key not in self._blocks:
            if len(self._blocks) >= 256:
                self._blocks.clear()
            self._blocks[key] = decide()
        return self._blocks[key]


_known = _Known()


def series_of(signal: Signal) -> str | None:
    """What tells that a stack is a series and no movie of one look, as a sentence; None where nothing does."""
    if signal.series is not None:
        return signal.series
    if signal.count > _MOST_EXPOSURES:
        return f"it has {signal.count} frames, more than an exposure is parted into"
    places = sorted({round(i * (signal.count - 1) / 8) for i in range(9)})
    known = [signal.details(place) for place in places]
    tilts = [one.tilt_deg for one in known if one.tilt_deg is not None]
    foci = [one.defocus_nm for one in known if one.defocus_nm is not None]
    times = [one.acquired for one in known if one.acquired is not None]
    if tilts and max(tilts) - min(tilts) > _TILT_DEG:
        return f"a tilt series, from {min(tilts):.4g}° to {max(tilts):.4g}°"
    if foci and max(foci) - min(foci) > _FOCUS_NM:
        return f"a through-focus series, over {max(foci) - min(foci):.4g} nm"
    if times and max(times) - min(times) > _LONGEST_S:
        return f"frames over {max(times) - min(times):.0f} s"
    return None


def exposures_a_block(signal: Signal) -> int:
    """Of how many exposures the sums are by which a stack is known to be a movie; 0 where it is none.

    Raises
    ------
    IncompleteFile
        The file ends within an exposure that is compared.
    """
    if signal.count < 2 or series_of(signal) is not None:
        return 0
    step = _pixel_nm(signal)
    try:
        head: list[Image] = []
        block = 1
        while 2 * block <= min(signal.count, _HEAD):
            sums = [_block(signal, head, start, block) for start in (0, block)]
            if match(sums[0], sums[1], step).same_field:
                return block if _holds(signal, head, block, step) else 0
            if 3 * block <= min(signal.count, _HEAD):
                third = _block(signal, head, 2 * block, block)
                if match(sums[0], third, step).same_field:
                    return 0  # two fields by turns, of which sums of more would look alike
            block *= 2
    except IncompleteFile:
        raise
    except UnreadableFrame:
        return 0  # coloured, blank or damaged: each frame gets its own reason
    return 0


def _holds(signal: Signal, head: list[Image], block: int, step: float | None) -> bool:
    """Whether consecutive sums of `block` exposures show one field at the beginning, the middle and the end.

    The first and the last of them are compared too: of a through-focus series without any metadata consecutive
    frames are alike, and the ends are not.
    """
    last = signal.count - 2 * block
    sizes = range(0, min(signal.count, _HEAD) - 2 * block + 1, block)
    for start in sorted({*sizes, last // 2, last} - {0}):
        pair = [_block(signal, head, start + part * block, block) for part in (0, 1)]
        if not match(pair[0], pair[1], step).same_field:
            return False
    ends = [_block(signal, head, start, block) for start in (0, signal.count - block)]
    return signal.count == 2 * block or match(ends[0], ends[1], step).same_field


def _block(signal: Signal, head: list[Image], start: int, block: int) -> Image:
    """The sum of some exposures, reduced; the first ones are kept in `head`."""
    total: Image | None = None
    for index in range(start, start + block):
        if index < len(head):
            one = head[index]
        else:
            one = reduced(cleaned(to_picture(signal.load(index))[0])).image
            if index == len(head) < _HEAD:
                head.append(one)
        total = one.copy() if total is None else total + one
    assert total is not None
    return total


def _pixel_nm(signal: Signal) -> float | None:
    """Pixel size of the pictures as they are compared [nm], None where it is not known or not plausible."""
    size_nm, _, _ = signal.pixel_size()
    low, high = PIXEL_SIZE_RANGE_NM
    if size_nm is None or not low <= size_nm <= high:
        return None
    return size_nm * max(1.0, max(signal.shape[:2]) / 1024)


def _one_frame(signal: Signal, block: int, mode: MovieMode) -> Signal:
    """A movie as a signal of one frame."""
    if mode == "first":
        note = f"the first of {signal.count} exposures of one field; the others are not judged"
        return replace(
            signal, count=1, notes=(*signal.notes, note), check=lambda _: signal.verify(signal.count - 1)
        )
    drift = _Drift()

    def load(_: int) -> npt.NDArray[Any]:
        drift.shifts, drift.dark = [], []
        return summed(signal, block, drift)

    return replace(
        signal,
        count=1,
        shape=signal.shape[:2],
        dtype=np.dtype(np.float32),
        load=load,
        details=lambda _: _details(signal, drift),
        found=lambda: _notes(signal, drift),
        check=lambda _: signal.verify(signal.count - 1),
        exposures=signal.count,
    )


def summed(signal: Signal, block: int, drift: _Drift) -> Image:
    """The sum (H, W) of the exposures of a movie, each moved onto the first one.

    Pixels that some exposures left are scaled by the number of exposures, so that the whole sum has one level. Two
    full frames are in memory at a time, whatever the number of exposures.

    Raises
    ------
    UnreadableFrame
        An exposure shows another field.
    """
    places, blocks = _trajectory(signal, block, drift)
    if not places:
        raise UnreadableFrame("the frame is blank: none of its exposures shows anything")
    total = covered = np.zeros(signal.shape[:2], np.float32)
    for index, picture in _exposures(signal):
        if index in drift.dark:
            continue
        at = _between(places, blocks, index)
        drift.shifts.append(at)
        done, whole = moved(picture, at)
        total, covered = total + done, covered + whole
    most = float(len(drift.shifts))
    level = float(total[covered == most].mean()) if (covered == most).any() else float(total.mean())
    return np.where(covered > 0, total * (most / np.maximum(covered, 1)), level).astype(np.float32)


def _trajectory(signal: Signal, block: int, drift: _Drift) -> tuple[list[tuple[float, float]], list[float]]:
    """By how much the sums of `block` exposures have to be moved [px], and the exposure in the middle of each."""
    levels = []
    small: list[tuple[int, Image, float]] = []
    places: list[tuple[float, float]] = []
    middles: list[float] = []
    reference: Image | None = None
    step = _pixel_nm(signal)
    for index, picture in _exposures(signal):
        level = float(picture.mean())
        levels.append(level)
        if level < _DARK * float(np.median(levels)) or float(picture.std()) == 0:
            drift.dark.append(index)
            continue
        part = reduced(picture)
        small.append((index, part.image, part.factor))
        left = signal.count - 1 - index
        if len(small) < block or 0 < left < block:
            continue
        reference = _placed(reference, small, step, places, middles)
        small = []
    if small and not places:
        _placed(reference, small, step, places, middles)
    return places, middles


def _between(places: list[tuple[float, float]], blocks: list[float], index: int) -> tuple[float, float]:
    """The shift of an exposure, on the line through those of the two blocks about it or nearest to it."""
    if len(blocks) == 1:
        return places[0]
    after = int(np.clip(np.searchsorted(blocks, index), 1, len(blocks) - 1))
    share = (index - blocks[after - 1]) / (blocks[after] - blocks[after - 1])
    (r0, c0), (r1, c1) = places[after - 1], places[after]
    return r0 + share * (r1 - r0), c0 + share * (c1 - c0)


def _placed(
    reference: Image | None,
    small: list[tuple[int, Image, float]],
    step: float | None,
    places: list[tuple[float, float]],
    middles: list[float],
) -> Image:
    """Place the sum of a block on those before it, and give the sum of all of them."""
    factor = small[0][2]
    picture: Image = np.stack([image for _, image, _ in small]).sum(axis=0, dtype=np.float32)
    middles.append(float(np.mean([index for index, _, _ in small])))
    if reference is None:
        places.append((0.0, 0.0))
        return picture
    near = (places[-1][0] / factor, places[-1][1] / factor)
    found: Match = match(reference, picture, step, near)
    if not found.same_field:
        raise UnreadableFrame(
            f"its first {small[0][0]} exposures show one field and exposure {small[0][0]} does not; "
            "give --movie frames to judge each of them by itself"
        )
    places.append((found.shift[0] * factor, found.shift[1] * factor))
    done, whole = moved(picture, found.shift)
    return np.asarray(reference + np.where(whole > 0, done, reference / max(1, len(places) - 1)))


def _exposures(signal: Signal) -> Iterator[tuple[int, Image]]:
    """Every exposure, cleaned; one that is blank is of zeros."""
    for index in range(signal.count):
        array = signal.load(index)
        if array.size and array.min() == array.max():
            yield index, np.zeros(array.shape[:2], np.float32)
        else:
            yield index, cleaned(to_picture(array)[0])


def _details(signal: Signal, drift: _Drift) -> Details:
    """Those of the first exposure, with the exposure time and the dose of all."""
    first = signal.details(0)
    used = len(drift.shifts) or signal.count
    movie = {
        "exposures": signal.count,
        "shifts_px": [[round(row, 2), round(column, 2)] for row, column in drift.shifts],
        "left_out": list(drift.dark),
    }
    return replace(
        first,
        exposure_s=None if first.exposure_s is None else first.exposure_s * used,
        dose_e_per_A2=None if first.dose_e_per_A2 is None else first.dose_e_per_A2 * used,
        metadata={**first.metadata, "movie": movie},
    )


def _notes(signal: Signal, drift: _Drift) -> tuple[str, ...]:
    """What was done, as sentences."""
    if not drift.shifts:
        return ()
    far = max(float(np.hypot(*shift)) for shift in drift.shifts)
    size_nm = _pixel_nm(signal)
    factor = max(1.0, max(signal.shape[:2]) / 1024)
    length = f" ({far * size_nm / factor:.2g} nm)" if size_nm else ""
    drifted = "less than 0.1 px" if far < 0.1 else f"{far:.1f} px{length}"
    notes = [f"{len(drift.shifts)} exposures of one field were aligned and summed; the drift was {drifted}"]
    if drift.dark:
        notes.append(f"{len(drift.dark)} dark exposures were left out of the sum")
    return tuple(notes)
