"""Analysing files once, without a session: what `faultwatch analyse` does."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy.typing as npt

from models.errors import CannotAnalyse, ModelError
from models.results import CLASSES, STAGES, Analysis, Particle
from monitor.errors import InputError, NoPixelSize, UnreadableFrame
from monitor.frames import Frame, MovieMode
from monitor.read import FrameFile, open_frames, resolve_pixel_size
from monitor.read.folders import find_files
from monitor.read.jsonable import jsonable
from monitor.workers.explanations import Explain, write_explanations
from monitor.workers.masks import MaskNames, write_mask

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.explain.explanation import Explainer, Explanation

log = logging.getLogger("faultwatch.oneshot")

#: Judges a frame of this pixel size [nm/px]; raises `CannotAnalyse`.
Judge = Callable[[npt.NDArray[Any], float], Analysis]


@dataclass(frozen=True)
class Options:
    """How frames are to be analysed."""

    pixel_size_nm: float | None = None
    """For files that do not say theirs [nm/px]."""
    force_pixel_size_nm: float | None = None
    """In place of what files say [nm/px]."""
    movie: MovieMode = "sum"
    """What becomes of a movie of one field."""
    masks: Path | None = None
    """Where label images are written, None: nowhere."""
    explain: Path | None = None
    """Where a picture and JSON of every particle are written, None: nowhere."""


@dataclass(frozen=True)
class Outcome:
    """What became of one frame, or of a whole file that can't be read."""

    path: str
    """As given."""
    index: int | None
    """None: the whole file."""
    rejected: str | None = None
    """The sentence that tells why."""
    analysis: Analysis | None = None
    frame: Frame | None = None
    read_ms: float = 0.0
    single: bool = True
    """The file holds no other frame."""
    missing: bool = False
    """There is no such file: not a proper rejection, but a wrong command."""


def analyse(
    files: Sequence[str],
    options: Options,
    judge: Judge,
    *,
    as_json: bool,
    explain: Explain | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Analyse every frame of the files (folders: of the files in them), one line or paragraph each on `out`.

    Parameters
    ----------
    explain : needed where the options ask for explanations; `judge` must then keep what it sees (`Models`).

    Returns
    -------
    int
        0 where any frame was analysed or all were properly rejected, else 1.

    Raises
    ------
    InputError
        Nothing was given that could hold a frame, or masks or explanations can't be written.
    """
    out, err = out or sys.stdout, err or sys.stderr
    paths = find_files(files)
    names = MaskNames([Path(path) for path in paths])
    for folder in (options.masks, options.explain):
        if folder is not None:
            make_folder(folder)
    counts: Counter[str] = Counter()
    text = as_line if as_json else Paragraphs()
    analysed = rejected = 0
    missing: list[str] = []
    with _Progress(len(paths), err) as progress:
        for path in paths:
            for outcome in outcomes(path, options, judge):
                if outcome.analysis is None:
                    rejected += 1
                    missing += [path] if outcome.missing else []
                else:
                    analysed += 1
                    counts.update(particle.particle_class for particle in outcome.analysis.particles)
                    name = names.name(Path(path), outcome.index or 0, outcome.single)
                    if options.masks is not None:
                        write_mask(options.masks / name, outcome.analysis)
                    if options.explain is not None and explain is not None:
                        index = None if outcome.single else outcome.index
                        stem = name.removesuffix(".tif")
                        write_explanations(options.explain, stem, path, index, outcome.analysis, explain)
                progress.say(text(outcome), out)
            progress.step()
    if not as_json and analysed + rejected > 1:
        print(_total(counts, analysed, rejected), file=out)
    if missing:
        others = f", nor are {len(missing) - 1} others there" if len(missing) > 1 else ""
        print(f"faultwatch: there is no file {missing[0]}{others}", file=err)
    return 0 if analysed or not missing else 1


def outcomes(path: str, options: Options, judge: Judge) -> Iterator[Outcome]:
    """The outcome of each frame of a file, or of the whole file where it can't be read."""
    try:
        file = open_frames(Path(path), options.movie)
    except UnreadableFrame as error:
        yield Outcome(path, None, rejected=error.reason, missing=not os.path.lexists(path))
        return
    with file:
        for index in range(file.count):
            yield _outcome(path, file, index, options, judge)


def _outcome(path: str, file: FrameFile, index: int, options: Options, judge: Judge) -> Outcome:
    started = time.perf_counter()
    try:
        frame = file.frame(index)
        size_nm = resolve_pixel_size(frame, options.pixel_size_nm, options.force_pixel_size_nm)
        read_ms = (time.perf_counter() - started) * 1e3
        analysis = judge(frame.pixels, size_nm)
    except (UnreadableFrame, NoPixelSize) as error:
        return Outcome(path, index, rejected=error.reason, single=file.count == 1)
    except CannotAnalyse as error:
        return Outcome(path, index, rejected=str(error), single=file.count == 1)
    except ModelError:
        raise  # the bundle is no good: that is not the frame's fault
    except MemoryError:
        return Outcome(path, index, rejected="there is not enough memory to analyse it")
    except Exception as error:
        # One frame must not take the others down, whatever is wrong with it or with this program.
        log.debug("event=analysis-failed path=%s index=%d", path, index, exc_info=True)
        return Outcome(path, index, rejected=f"the analysis failed ({type(error).__name__}: {error})")
    return Outcome(path, index, analysis=analysis, frame=frame, read_ms=read_ms, single=file.count == 1)


def as_record(outcome: Outcome) -> dict[str, Any]:
    """What `analyse --json` tells of one frame."""
    if outcome.analysis is None:
        return {"frame": outcome.path, "index": outcome.index, "rejected": outcome.rejected}
    analysis = outcome.analysis
    timings = {"read": outcome.read_ms, **analysis.timings_ms}
    return {
        "frame": outcome.path,
        "index": outcome.index,
        "shape": [int(side) for side in analysis.shape],
        "pixel_size_nm": float(analysis.pixel_size_nm),
        "bundle": analysis.bundle,
        "particles": [
            {
                "class": particle.particle_class,
                "probabilities": {
                    name: float(p) for name, p in zip(CLASSES, particle.probabilities, strict=True)
                },
                "bbox": [int(side) for side in particle.bbox],
                "centroid": [float(value) for value in particle.centroid],
                "diameter_nm": float(particle.diameter_nm),
                "area_nm2": float(particle.area_nm2),
                "abstained": bool(particle.abstained),
            }
            for particle in analysis.particles
        ],
        "quality": jsonable(_quality(outcome)),
        "timings_ms": {stage: round(float(timings.get(stage, 0.0)), 3) for stage in STAGES},
    }


def as_line(outcome: Outcome) -> str:
    """The line of `analyse --json` for one frame."""
    return json.dumps(as_record(outcome), allow_nan=False)


class Paragraphs:
    """Text for people; what is rejected for the same reason as the frame before it is told in a few words."""

    def __init__(self) -> None:
        self._last: tuple[str, str] | None = None

    def __call__(self, outcome: Outcome) -> str:
        said, self._last = self._last, (outcome.path, outcome.rejected) if outcome.rejected else None
        if self._last is not None and self._last == said:
            return f"{outcome.path} [{outcome.index}]: rejected for the same reason"
        return as_text(outcome)


def as_text(outcome: Outcome) -> str:
    """A paragraph for people: what the frame is, and a line a particle."""
    where = outcome.path if outcome.single else f"{outcome.path} [{outcome.index}]"
    if outcome.analysis is None:
        return f"{where}: rejected: {outcome.rejected}"
    analysis = outcome.analysis
    height, width = analysis.shape
    found = Counter(particle.particle_class for particle in analysis.particles)
    spent = outcome.read_ms + sum(analysis.timings_ms.values())
    lines = [
        f"{where}: {height} × {width} px at {analysis.pixel_size_nm:.4g} nm/px, "
        + ", ".join(f"{found[name]} {name}" for name in reversed(CLASSES))
        + f" ({spent:.0f} ms)"
    ]
    if outcome.frame is not None and outcome.frame.scanning:
        lines.append("  a scanning image, not HRTEM: the classes were not made for it")
    if (unjudged := float(analysis.quality.get("unjudged_share", 0.0))) > 0:
        lines.append(f"  {unjudged:.0%} of it is dark or filled in and was not judged")
    lines += [f"  {note}" for note in (outcome.frame.notes if outcome.frame is not None else ())]
    for number, particle in enumerate(analysis.particles, start=1):
        row, column = particle.centroid
        p = particle.probabilities[CLASSES.index(particle.particle_class)]
        unsure = ", too close to call" if particle.abstained else ""
        lines.append(
            f"  {number:4d}  {particle.particle_class:<5s} {p:4.0%}  {particle.diameter_nm:6.2f} nm  "
            f"at row {row:.0f}, column {column:.0f}{unsure}"
        )
    return "\n".join(lines)


def _quality(outcome: Outcome) -> dict[str, Any]:
    """The analysis's figures, and what reading knows of the picture."""
    if outcome.analysis is None or outcome.frame is None:
        return {}
    frame = outcome.frame
    more: dict[str, Any] = {"exposures": frame.exposures} if frame.exposures > 1 else {}
    more |= {"notes": "; ".join(frame.notes)} if frame.notes else {}
    return {**outcome.analysis.quality, "scanning": frame.scanning, **more}


def _total(counts: Counter[str], analysed: int, rejected: int) -> str:
    seen = counts["yes"] + counts["no"]
    fraction = (
        f"{counts['yes'] / seen:.1%} of {seen} with a fault" if seen else "none where a fault would show"
    )
    classes = ", ".join(f"{counts[name]} {name}" for name in reversed(CLASSES))
    frames = "frame" if analysed == 1 else "frames"
    return f"{analysed} {frames} analysed, {rejected} rejected; particles: {classes}; {fraction}"


def make_folder(folder: Path) -> None:
    """Make a folder for results, with those above it.

    Raises
    ------
    InputError
        It can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} can't be made: {error.strerror}", path=folder) from error


class _Progress:
    """A bar on `err` where that is a terminal and there are several files; it spares what is printed."""

    def __init__(self, files: int, err: TextIO) -> None:
        self._bar: Any = None
        if files > 1 and err.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=files, unit="file", file=err, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        """One more file is done."""
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str, out: TextIO) -> None:
        """Print a line on `out`, the bar out of its way."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=out, flush=True)
        if self._bar is not None:
            self._bar.refresh()


class Models:
    """The models that judge and explain; loaded when the first frame needs them.

    A bundle or a material that was given is looked at first: a wrong one is told before anything is read.
    """

    def __init__(self, bundle: Path | None, material: str | None, device: str, *, keep: bool = False) -> None:
        """
        Parameters
        ----------
        keep : what is seen of every particle, so that it can be explained.

        Raises
        ------
        models.errors.ModelError
            The bundle can't be loaded, or the material is not known.
        """
        self._path, self._material, self._device, self._keep = bundle, material, device, keep
        if bundle is not None:
            _ = self._bundle
        if material is not None:
            from models.analysis import layer_frequencies

            layer_frequencies(material)

    @functools.cached_property
    def _bundle(self) -> Bundle:
        from models.bundle import load_bundle

        return load_bundle(self._path, device=self._device)

    @functools.cached_property
    def _explainer(self) -> Explainer:
        from models.explain.explanation import Explainer

        return Explainer(self._bundle, self._material)

    def judge(self, pixels: npt.NDArray[Any], pixel_size_nm: float) -> Analysis:
        """What the models say of a frame of this pixel size [nm/px]; raises `CannotAnalyse`."""
        from models.analysis import analyse as analyse_frame

        return analyse_frame(pixels, pixel_size_nm, self._bundle, self._material, self._keep)

    def explain(self, particle: Particle, number: int) -> Explanation:
        """Why the `number`-th particle of a frame was given its class; it must have been judged with `keep`."""
        return self._explainer.explain(particle, number)
