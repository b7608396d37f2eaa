"""What the program understands of a file of frames, and what it would have to be told: `faultwatch analyse --about`."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from monitor.errors import NoPixelSize, UnreadableFrame
from monitor.frames import Frame, MovieMode
from monitor.read.files import FrameFile, open_frames
from monitor.read.folders import find_files
from monitor.read.jsonable import jsonable
from monitor.read.names import by_content, by_name, read_head
from monitor.read.scale import resolve_pixel_size

#: Names of the accelerating voltage in the metadata of all formats, without spaces and underscores.
_VOLTAGE = re.compile(
    r"(acceleration|accelerating)?voltage(kv|v)?|ht|hightension(kv)?|beamenergy(kev)?|energykev|kv",
    re.IGNORECASE,
)
#: Electron microscopes work within these [kV].
_LOWEST_KV, _HIGHEST_KV = 20.0, 3500.0
#: Lines of metadata that are shown to people; the JSON has all of it.
_SHOWN = 400


def tell_about(
    files: Sequence[str],
    given_nm: float | None = None,
    forced_nm: float | None = None,
    movie: MovieMode = "sum",
    *,
    as_json: bool,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Tell about files (folders: of the files in them) on `out`, a line of JSON or a paragraph each.

    Returns
    -------
    int
        0 where every file is there, else 1.
    """
    out, err = out or sys.stdout, err or sys.stderr
    missing = []
    for name in find_files(files):
        told = about(name, given_nm, forced_nm, movie)
        missing += [name] if not os.path.lexists(name) else []
        print(json.dumps(told, allow_nan=False) if as_json else as_text(told), file=out, flush=True)
    if missing:
        print(f"faultwatch: there is no file {missing[0]}", file=err)
    return 1 if missing else 0


def about(
    name: str, given_nm: float | None = None, forced_nm: float | None = None, movie: MovieMode = "sum"
) -> dict[str, Any]:
    """What is understood of a file, as plain JSON values.

    `file`, `format`, `bytes`; where it can't be read, `refused`: why. Else `frames` (how many are judged), `kind` (what
    the file is, as a sentence), `images` (each with `title`, `frames`, `shape`, `type`), the first frame's
    `pixel_size_nm`, `pixel_size_from`, `acquired` [s since 1970 UTC], `kv`, `exposure_s`, `dose_e_per_A2`,
    `magnification`, `scanning`, `notes`, `asks_for` (what it would have to be told, as sentences) and `metadata`.
    """
    path = Path(name)
    told: dict[str, Any] = {"file": name, "format": _format_of(path), "bytes": _size_of(path)}
    try:
        with open_frames(path, "frames") as file:
            return {**told, **_understood(file, path, given_nm, forced_nm, movie)}
    except UnreadableFrame as error:
        return {**told, "refused": error.reason}


def _understood(
    file: FrameFile, path: Path, given_nm: float | None, forced_nm: float | None, movie: MovieMode
) -> dict[str, Any]:
    with open_frames(path, movie) as shown:
        count, exposures = shown.count, max(signal.exposures for signal in shown.signals)
    frame = file.frame(0)
    size_nm, origin, asks = _scale(frame, given_nm, forced_nm)
    if exposures > 1:
        asks.append(
            "nothing more; --movie frames would judge each exposure, --movie first only the first one"
        )
    return {
        "frames": count,
        "kind": _kind(file, count, exposures),
        "images": [
            {
                "title": signal.title,
                "frames": signal.count,
                "shape": [int(side) for side in signal.shape],
                "type": str(signal.dtype.newbyteorder("=")),
            }
            for signal in file.signals
        ],
        "pixel_size_nm": size_nm,
        "pixel_size_from": origin,
        "acquired": frame.acquired,
        "kv": kilovolts(frame.metadata),
        "exposure_s": frame.exposure_s,
        "dose_e_per_A2": frame.dose_e_per_A2,
        "magnification": frame.magnification,
        "scanning": frame.scanning,
        "notes": list(frame.notes),
        "asks_for": asks,
        "metadata": jsonable(frame.metadata),
    }


def _scale(
    frame: Frame, given_nm: float | None, forced_nm: float | None
) -> tuple[float | None, str | None, list[str]]:
    """The pixel size [nm] that would be used, from where it is, and what would be asked for without it."""
    try:
        size_nm = resolve_pixel_size(frame, given_nm, forced_nm)
    except NoPixelSize as error:
        return None, None, [error.reason]
    if forced_nm is not None:
        return size_nm, "--force-pixel-size", []
    if frame.pixel_size_nm is None:
        return size_nm, "--pixel-size", []
    return size_nm, frame.scale_from or "the file", []


def _kind(file: FrameFile, count: int, exposures: int) -> str:
    if exposures > 1:
        return f"a movie of one field of {exposures} exposures, judged as one frame"
    if file.count == 1:
        return "one picture"
    if count < file.count:
        return f"a movie of one field of {file.count} exposures, of which the first is judged"
    from monitor.read.movies import series_of

    series = next((told for told in map(series_of, file.signals) if told), None)
    return f"{file.count} pictures, judged one by one" + (f" ({series})" if series else "")


def kilovolts(metadata: Mapping[str, Any]) -> float | None:
    """The accelerating voltage in any format's metadata [kV], None where it does not say."""
    for key, value in _leaves(metadata):
        if not _VOLTAGE.fullmatch(re.sub(r"[^a-z]", "", key.lower())):
            continue
        try:
            number = abs(float(str(value).split()[0]))
        except (ValueError, IndexError):
            continue
        for kv in (number, number / 1e3):  # written in kV, or in V
            if _LOWEST_KV <= kv <= _HIGHEST_KV:
                return kv
    return None


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a tree with the last part of its name; of an attribute called `value` its owner's name."""
    if isinstance(tree, Mapping):
        for name, below in tree.items():
            last = str(name).rpartition("/")[2]
            yield from _leaves(below, key if last == "value" else last)
    elif isinstance(tree, list):
        for below in tree[:100]:
            yield from _leaves(below, key)
    elif isinstance(tree, str) and "\n" in tree and len(tree) < 2**20:
        for line in tree.splitlines():
            name, _, value = line.partition("=")
            yield name, value
    else:
        yield key, tree


def _format_of(path: Path) -> str | None:
    """The format of a file by its content, else by its name, as the name of its module."""
    try:
        found = by_content(read_head(path)) or by_name(path)
    except OSError:
        found = by_name(path)
    return None if found is None else found.module


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def as_text(told: Mapping[str, Any]) -> str:
    """A paragraph for people."""
    if "refused" in told:
        return (
            f"{told['file']}: {told['format'] or 'no format that is read here'}\n  refused: {told['refused']}"
        )
    lines = [f"{told['file']}: {told['kind']} ({told['format']})"]
    for image in told["images"]:
        title = f"{image['title']}: " if image["title"] else ""
        shape = " × ".join(str(side) for side in image["shape"])
        lines.append(f"  {title}{image['frames']} × ({shape} px), {image['type']}")
    size = told["pixel_size_nm"]
    origin = told["pixel_size_from"]
    lines.append("  pixel size: not known" if size is None else f"  pixel size: {size:.6g} nm, from {origin}")
    taken = told["acquired"]
    when = "not known" if taken is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(taken))
    lines.append(f"  taken: {when}")
    for name, unit in (("kv", "kV"), ("exposure_s", "s"), ("dose_e_per_A2", "e⁻/Å²"), ("magnification", "×")):
        if told[name] is not None:
            lines.append(f"  {name.partition('_')[0]}: {told[name]:g} {unit}")
    lines += ["  a scanning image, not HRTEM"] if told["scanning"] else []
    lines += [f"  note: {note}" for note in told["notes"]]
    lines += [f"  asks for: {sentence}" for sentence in told["asks_for"]] or ["  asks for: nothing"]
    metadata = json.dumps(told["metadata"], indent=1, ensure_ascii=False).splitlines()
    lines += ["  metadata:", *(f"  {line}" for line in metadata[:_SHOWN])]
    lines += [f"  ({len(metadata) - _SHOWN} more lines with --json)"] if len(metadata) > _SHOWN else []
    return "\n".join(lines)
