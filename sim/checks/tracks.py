"""How well particles were followed: `python -m sim.checks.tracks SESSION TRUTH ...`.

SESSION is the recorded session of a story that the virtual microscope played into a directory, TRUTH the folder with
its truth. Sightings are matched to the true particles of their frame by the overlap of boxes; what is no particle, or
belongs to a frame that is not counted, is left out. Printed for each session, and as JSON with `--json`:

- *identity F1* (Ristani et al., ECCV workshops 2016): 2 × sightings whose track is the one that stands for their
  particle, over the sightings with a particle and those with a track, at the best pairing of tracks with particles;
- *unique*: tracks that stand for a particle, and particles that were sighted;
- *fields*: found, and true ones;
- *place*: largest error of a frame's place within its field [nm].
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

LEAST_OVERLAP = 0.3
"""Intersection over union from which a sighting is a true particle."""


@dataclass(frozen=True)
class Score:
    """Of one session."""

    session: str
    frames: int
    sightings: int
    identity_f1: float
    tracks: int
    particles: int
    fields: int
    true_fields: int
    place_error_nm: float

    @property
    def unique_error(self) -> float:
        """(tracks − particles) / particles."""
        return (self.tracks - self.particles) / max(1, self.particles)


def score(session: Path, truth: Path) -> Score:
    """Compare a session's tracks with the truth.

    Raises
    ------
    OSError, sqlite3.Error, KeyError
        One of the two is not there, or is something else.
    """
    frames = [json.loads(line) for line in (truth / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs: list[tuple[str | None, int | None]] = []
    origins: dict[tuple[int, int], list[tuple[float, float]]] = {}
    fields: set[int] = set()
    with closing(sqlite3.connect(f"file:{session / 'session.sqlite'}?mode=ro", uri=True)) as db:
        numbers = _numbers(db)
        for told in frames:
            frame = numbers.get(told["frame"])
            place = db.execute(
                "SELECT field, map, row_nm, col_nm, how, uncounted FROM places WHERE frame_id = ?", (frame,)
            ).fetchone()
            if place is None:
                continue
            fields.add(place[0])
            if place[4] != "bridged":
                where = (place[2] + told["offset_nm"][0], place[3] + told["offset_nm"][1])
                origins.setdefault((told["field"], place[1]), []).append(where)
            if place[5] is None:
                pairs += _paired(db, frame, told["particles"])
    f1, tracks, particles = identity(pairs)
    errors = [float(np.hypot(*(np.array(p) - np.median(p, axis=0)).T).max()) for p in origins.values()]
    true_fields = len({told["field"] for told in frames})
    found = sum(k is not None or p is not None for p, k in pairs)
    return Score(
        str(session),
        len(frames),
        found,
        f1,
        tracks,
        particles,
        len(fields),
        true_fields,
        max(errors, default=0.0),
    )


def identity(pairs: list[tuple[str | None, int | None]]) -> tuple[float, int, int]:
    """Identity F1 of (particle, track) of every sighting, the number of tracks, and that of particles."""
    seen = [(p, k) for p, k in pairs if p is not None]
    particles = {p: i for i, p in enumerate(sorted({p for p, _ in seen if p}))}
    tracks = {k: i for i, k in enumerate(sorted({k for _, k in seen if k is not None}))}
    table = np.zeros((len(particles), len(tracks)))
    for p, k in seen:
        if p is not None and k is not None:
            table[particles[p], tracks[k]] += 1
    rows, cols = linear_sum_assignment(table, maximize=True)
    followed = sum(k is not None for _, k in seen)
    return 2 * float(table[rows, cols].sum()) / max(1, len(seen) + followed), len(tracks), len(particles)


def _numbers(db: sqlite3.Connection) -> dict[int, int]:
    """The record's number of each of the microscope's frames, by the number in its file's name."""
    found = {}
    for frame, path in db.execute("SELECT id, path FROM frames"):
        match = re.search(r"(\d+)\.\w+$", path if isinstance(path, str) else path.decode("utf-8", "replace"))
        if match:
            found[int(match[1])] = frame
    return found


def _paired(
    db: sqlite3.Connection, frame: int | None, particles: list[dict[str, Any]]
) -> list[tuple[str | None, int | None]]:
    """The true particle, if any, and the track of every sighting of a frame."""
    seen = db.execute(
        "SELECT row0, col0, row1, col1, track FROM particles WHERE frame_id = ? AND class <> 'empty'",
        (frame,),
    ).fetchall()
    if not seen or not particles:
        return [(None, row[4]) for row in seen]
    a = np.array([row[:4] for row in seen], float)[:, None]
    b = np.array([p["bbox"] for p in particles], float)[None]
    sides = np.maximum(0, np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]))
    common = sides.prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - common
    iou = common / union
    rows, cols = linear_sum_assignment(iou, maximize=True)
    true = {
        int(r): str(particles[int(c)]["id"])
        for r, c in zip(rows, cols, strict=True)
        if iou[r, c] >= LEAST_OVERLAP
    }
    return [(true.get(i), row[4]) for i, row in enumerate(seen)]


def main(arguments: list[str] | None = None) -> int:
    """Print the scores; 0 where all could be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.checks.tracks", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("pairs", nargs="+", metavar="SESSION TRUTH", type=Path)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each session")
    options = parser.parse_args(arguments)
    if len(options.pairs) % 2:
        parser.error("give each session with its truth")
    pairs = list(zip(options.pairs[::2], options.pairs[1::2], strict=True))
    for session, truth in pairs:
        try:
            found = score(session, truth)
        except (OSError, sqlite3.Error, KeyError, ValueError) as error:
            print(f"{session} and {truth} can't be compared: {error}", file=sys.stderr)
            return 1
        if options.json:
            print(json.dumps({**asdict(found), "unique_error": found.unique_error}))
        else:
            print(
                f"{found.session}: identity F1 {found.identity_f1:.4f}, {found.tracks} tracks for {found.particles} "
                f"particles ({found.unique_error:+.1%}), {found.fields} fields for {found.true_fields}, "
                f"place within {found.place_error_nm:.2f} nm, {found.sightings} sightings in {found.frames} frames"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
