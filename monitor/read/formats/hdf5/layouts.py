"""HDF5 files: Velox and Berkeley EMD, HyperSpy's (.hspy), and any other that holds pictures.

Each layout is a function that finds the signals, tried in the order of `_LAYOUTS`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.scale import parse_unit
from monitor.read.signals import Axis, Details, Signal
from monitor.read.formats.hdf5.stored import attributes, check_stored
from monitor.read.times import parse_time, plausible_time
from monitor.read.formats.hdf5.velox import is_velox, velox_signals

#: Other objects of a file that are looked at in search of pictures.
_MOST_OBJECTS = 20_000
_PIXEL_KEYS = ("pixel_size_nm", "pixelsize_nm", "pixel_size", "pixelSize", "PixelSize")


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The images of the file, by the first layout that it follows."""
    try:
        # A program that still writes the file holds its lock; where locks don't work (shares) they are left.
        file = stack.enter_context(h5py.File(path, "r", locking="best-effort"))
    except OSError as error:
        if "truncated" in str(error) or path.stat().st_size < 512:
            raise IncompleteFile(
                "the file is incomplete: it ends before the end that its header tells"
            ) from error
        if "lock" in str(error):
            raise IncompleteFile("another program has the file open for writing") from error
        raise
    for layout in _LAYOUTS:
        if signals := layout(file):
            return signals
    raise UnreadableFrame("there is no image in it (no array of two or more dimensions)")


def _velox(file: h5py.File) -> list[Signal]:
    return velox_signals(file) if is_velox(file) else []


def _berkeley(file: h5py.File) -> list[Signal]:
    """Groups marked `emd_group_type`: `data` and its axes `dim1`, `dim2` ... (later: from `dim0`)."""
    signals = []
    for group in _walk(file):
        if not isinstance(group, h5py.Group) or "emd_group_type" not in group.attrs:
            continue
        first = 0 if "dim0" in group else 1
        for name, data in group.items():
            if not isinstance(data, h5py.Dataset) or data.ndim < 1 or name.startswith("dim"):
                continue
            axes = [_dimension(group.get(f"dim{i + first}")) for i in range(data.ndim)]
            if all(axis is None for axis in axes) and data.ndim < 2:
                continue  # a list of times or positions beside the picture
            known = [axis or ("", Axis()) for axis in axes]
            title = group.name.rpartition("/")[2]
            cube = "it is a data cube of diffraction patterns, not an image" if "datacube" in name else None
            signals.append(_stack(data, known, title, _plain(file), transposed=first == 1, refusal=cube))
    return signals


def _hyperspy(file: h5py.File) -> list[Signal]:
    """HyperSpy's: `Experiments/<name>/data`, with a group of attributes for each axis, `axis-0` ..."""
    signals = []
    experiments = file.get("Experiments")
    for name, group in experiments.items() if isinstance(experiments, h5py.Group) else ():
        data = group.get("data") if isinstance(group, h5py.Group) else None
        if not isinstance(data, h5py.Dataset):
            continue
        axes: list[tuple[str, Axis]] = []
        in_signal: list[int] = []
        for i in range(data.ndim):
            axis = group.get(f"axis-{i}", group.get(f"_list_{data.ndim}_axes/axis-{i}"))
            about = attributes(axis) if isinstance(axis, h5py.Group) else {}
            axes.append(
                (
                    _word(about.get("name")) or "",
                    Axis(_number(about.get("scale")), _word(about.get("units"))),
                )
            )
            if not about.get("navigate", i < data.ndim - 2):
                in_signal.append(i)
        spectra = "it is a spectrum or a map of spectra, not an image" if len(in_signal) == 1 else None
        pair = (in_signal[0], in_signal[1]) if len(in_signal) == 2 else None
        signals.append(
            _stack(data, axes, str(name), _plain(file), transposed=False, refusal=spectra, pair=pair)
        )
    return signals


def _any(file: h5py.File) -> list[Signal]:
    """Any array of numbers of two or more dimensions; its pixel size where an attribute is named so."""
    signals = []
    for data in _walk(file):
        if isinstance(data, h5py.Dataset) and data.ndim >= 2 and data.dtype.kind in "iufbc":
            axis = _pixel_attribute(data)
            if data.ndim == 3 and data.shape[-1] in (3, 4):
                title = data.name.rpartition("/")[2]
                signals.append(
                    Signal(1, data.shape, data.dtype, _Whole(data), axis, axis, title, _plain(file))
                )
            else:
                axes = [("", Axis())] * (data.ndim - 2) + [("", axis)] * 2
                signals.append(
                    _stack(data, axes, data.name.rpartition("/")[2], _plain(file), transposed=False)
                )
    return signals


_LAYOUTS: tuple[Callable[[h5py.File], list[Signal]], ...] = (_velox, _berkeley, _hyperspy, _any)


class _Whole:
    """Loads an array as it is."""

    def __init__(self, data: h5py.Dataset) -> None:
        self.data = data

    def __call__(self, _: int) -> np.ndarray[Any, Any]:
        return np.asarray(self.data[()])


def _stack(
    data: h5py.Dataset,
    axes: list[tuple[str, Axis]],
    title: str,
    details: Callable[[int], Details],
    *,
    transposed: bool,
    refusal: str | None = None,
    pair: tuple[int, int] | None = None,
) -> Signal:
    """The signal of an array with named axes: `pair` (or the names) span the picture, others count frames."""
    rows, columns = pair or _picture_axes(axes, transposed)
    if refusal or rows < 0 or data.dtype.kind not in "iufb":
        column = axes[0][1] if axes else Axis()
        return Signal(1, data.shape, data.dtype, _Whole(data), columns=column, title=title, refusal=refusal)
    others = [i for i in range(data.ndim) if i not in (rows, columns)]
    if any((axes[i][1].unit or "").strip("[] ").lower() in ("ev", "kev") for i in others):
        refusal = "it is a map of spectra (an axis in eV), not an image"
    lengths = [data.shape[i] for i in others]
    shape = (data.shape[rows], data.shape[columns])
    check_stored(data, math.prod(shape))

    def load(index: int) -> np.ndarray[Any, Any]:
        key: list[Any] = [slice(None)] * data.ndim
        for axis, at in zip(others, np.unravel_index(index, lengths) if others else (), strict=True):
            key[axis] = int(at)
        picture = np.asarray(data[tuple(key)])
        return picture if rows < columns else picture.T

    return Signal(
        math.prod(lengths),
        shape,
        data.dtype,
        load,
        rows=axes[rows][1],
        columns=axes[columns][1],
        title=title,
        details=details,
        refusal=refusal,
    )


def _picture_axes(axes: list[tuple[str, Axis]], transposed: bool) -> tuple[int, int]:
    """Which axes are the picture's rows and columns.

    Those named y and x; else those with a unit of length or its reciprocal, where just two have one; else the
    last two, or for Berkeley's files without names the first two as x and y, as its writers lay them down.
    """
    if len(axes) < 2:
        return -1, -1
    names = [re.sub(r"[^a-z]", "", name.lower()) for name, _ in axes]
    for row, column in (("y", "x"), ("row", "column"), ("rows", "columns"), ("height", "width")):
        if names.count(row) == names.count(column) == 1:
            return names.index(row), names.index(column)
    spatial = [i for i, (_, axis) in enumerate(axes) if parse_unit(axis.unit)[0] in ("length", "reciprocal")]
    reciprocal = [i for i in spatial if parse_unit(axes[i][1].unit)[0] == "reciprocal"]
    if len(reciprocal) == 2:
        return reciprocal[0], reciprocal[1]
    pair = spatial if len(spatial) == 2 else ([0, 1] if transposed else [len(axes) - 2, len(axes) - 1])
    return (pair[1], pair[0]) if transposed else (pair[0], pair[1])


def _dimension(vector: Any) -> tuple[str, Axis] | None:
    """Name, scale and unit of one of Berkeley's axes: a vector of positions, or its first two."""
    if not isinstance(vector, h5py.Dataset):
        return None
    name, unit = _word(vector.attrs.get("name")) or "", _word(vector.attrs.get("units"))
    if unit is not None and not unit.strip("[]_ "):
        unit = None
    scale = None
    if vector.ndim == 1 and vector.dtype.kind in "iuf" and vector.shape[0] >= 2:
        ends = float(vector[0]), float(vector[vector.shape[0] - 1])
        steps = vector.shape[0] - 1
        scale = (ends[1] - ends[0]) / steps
    return name, Axis(scale, unit)


def _walk(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    """Every group and array, each once; links out of the file are not followed."""
    waiting: list[h5py.Group] = [file]
    seen: set[int] = set()
    looked_at = 0
    while waiting:
        group = waiting.pop(0)
        for name in group:
            looked_at += 1
            if looked_at > _MOST_OBJECTS:
                return
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            if not isinstance(item, h5py.Group | h5py.Dataset):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield item
            if isinstance(item, h5py.Group):
                waiting.append(item)


def _plain(file: h5py.File) -> Callable[[int], Details]:
    """Details of a file without metadata of a known layout: all attributes and values, by their paths."""

    @functools.cache
    def collect() -> Details:
        metadata: dict[str, Any] = {}
        words: list[str] = []
        for item in [file, *_walk(file)]:
            values = {name: _value(value) for name, value in attributes(item).items()}
            if isinstance(item, h5py.Dataset) and item.ndim == 0 and item.dtype.kind in "iufbSO":
                values["value"] = _value(item[()])
            if values:
                metadata[item.name] = values
            words += [name.lower() for name in values]
        return Details(
            acquired=_first(metadata, r"(timestamp|date_?time|acquisition time)", _time),
            exposure_s=_first(metadata, r"(exposure(_s|_time)?|exposure \(s\))", _number),
            dose_e_per_A2=_first(metadata, r"dose_e_per_A2", _number),
            magnification=_first(metadata, r"magnification", _number),
            scanning=any(re.fullmatch(r"dwell[ _]?time.*", word) for word in words),
            metadata=metadata,
        )

    return lambda _: collect()


def _first(metadata: dict[str, Any], name: str, parse: Callable[[Any], float | None]) -> float | None:
    """The first value under such a name that can be understood."""
    for values in metadata.values():
        for key, value in values.items():
            if re.fullmatch(name, key, re.IGNORECASE) and (number := parse(value)):
                return number
    return None


def _time(value: Any) -> float | None:
    return parse_time(value) if isinstance(value, str) else plausible_time(_number(value))


def _pixel_attribute(data: h5py.Dataset) -> Axis:
    for key in _PIXEL_KEYS:
        for holder in (data, data.parent, data.file):
            size = _number(holder.attrs.get(key))
            if size is not None:
                unit = _word(holder.attrs.get(f"{key}_unit", holder.attrs.get("pixel_unit")))
                return Axis(size, "nm" if key.endswith("_nm") else unit)
    return Axis()


def _value(value: Any) -> Any:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def _word(value: Any) -> str | None:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return float(value) if math.isfinite(value) else None
