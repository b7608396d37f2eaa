"""How often a session's interval holds the true fraction, in the whole chain: `python -m sim.checks.fractions OUT`.

Stories are played into directories and watched by real sessions, with waves that no forest has seen (`--library`, made
by `faultwatch simulate L.h5 --preset library --specimens 600 --seed S`). Fields differ in their fraction
(`--field-icc`), so that the fraction of the particles that were drawn varies about the one that was ordered, with which
the intervals are compared. What is there in OUT is kept: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

FRACTIONS = (0.02, 0.05, 0.2, 0.5)
"""That are ordered, in turn."""


@dataclass(frozen=True)
class Played:
    """One session and what it said."""

    ordered: float
    realised: float | None
    """Of the particles that were drawn."""
    counted: float | None
    corrected: float | None
    interval: tuple[float, float] | None
    always: tuple[float, float] | None
    tracks: int


def story(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """What happens in a session: its conditions go through doses, contrast and carbon, drawn from its seed."""
    rng = np.random.default_rng((options.seed, number))
    return {
        "frames": options.frames,
        "frames_per_field": options.frames_per_field,
        "seed": int(rng.integers(2**31)),
        "dose_e_per_A2": float(np.round(np.exp(rng.uniform(np.log(100), np.log(800))), 1)),
        "stobbs": float(np.round(rng.uniform(1.0, 2.5), 2)),
        "carbon_nm": float(np.round(rng.uniform(2.2, 6.0), 2)),
        "fault_fraction": FRACTIONS[number % len(FRACTIONS)],
        "field_icc": options.field_icc,
        "drift_nm": 0.5,
    }


def play(number: int, out: Path, options: argparse.Namespace) -> Played:
    """One session, from its story to its summary.

    Raises
    ------
    subprocess.CalledProcessError
        The microscope or the session failed.
    """
    told, frames = out / f"{number:03d}.json", out / f"{number:03d}"
    session, result = out / f"{number:03d}.session", out / f"{number:03d}.summary.json"
    if not result.is_file():
        for folder in (frames, session, out / f"{number:03d}.truth"):
            shutil.rmtree(folder, ignore_errors=True)
        told.write_text(json.dumps(story(number, options), indent=1), encoding="utf-8")
        library = ["--library", str(options.library)] if options.library else []
        _run("microscope", str(frames), "--story", str(told), "--rate", "1000", *library)
        bundle = ["--bundle", str(options.bundle)] if options.bundle else []
        _run("watch", str(frames), "--session", str(session), "--no-dashboard", "--until-idle", "1", *bundle)
        said = _run("summary", str(session), "--json")
        truth = json.loads((out / f"{number:03d}.truth" / "story.json").read_text(encoding="utf-8"))
        kept = {"summary": json.loads(said), "truth": truth["fault_fraction"]}
        shutil.rmtree(frames)
        result.write_text(json.dumps(kept), encoding="utf-8")
    kept = json.loads(result.read_text(encoding="utf-8"))
    said, true = kept["summary"], kept["truth"]
    fraction = said["fraction"]
    return Played(
        FRACTIONS[number % len(FRACTIONS)], true["realised"], fraction["counted"], fraction["corrected"],
        _pair(fraction["interval"]), _pair(said["always"]), fraction["tracks"],
    )  # fmt: skip


def table(played: list[Played]) -> str:
    """Coverage and width for every ordered fraction, as Markdown."""
    lines = [
        "| ordered | sessions | with interval | it holds | sequence holds | width | corrected | counted | tracks |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for ordered in sorted({one.ordered for one in played}):
        here = [one for one in played if one.ordered == ordered]
        sure = [one for one in here if one.interval is not None and one.corrected is not None]
        if not sure:
            lines.append(f"| {ordered:.2f} | {len(here)} | 0 | | | | | | |")
            continue
        holds = np.mean([one.interval[0] <= ordered <= one.interval[1] for one in sure if one.interval])
        always = [one.always for one in sure if one.always]
        held = np.mean([low <= ordered <= high for low, high in always]) if always else np.nan
        width = np.mean([one.interval[1] - one.interval[0] for one in sure if one.interval])
        corrected = np.mean([one.corrected for one in sure if one.corrected is not None])
        counted = np.mean([one.counted for one in here if one.counted is not None])
        lines.append(
            f"| {ordered:.2f} | {len(here)} | {len(sure)} | {holds:.2f} | {held:.2f} | {width:.3f} | {corrected:.3f} | "
            f"{counted:.3f} | {np.mean([one.tracks for one in here]):.0f} |"
        )
    return "\n".join(lines)


def _pair(values: list[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "faultwatch", *arguments], check=True, text=True, capture_output=True
    )
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Play the sessions and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.checks.fractions", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("out", type=Path, help="folder for stories, sessions and summaries")
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--frames-per-field", type=int, default=2)
    parser.add_argument("--field-icc", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=4000)
    parser.add_argument("--library", type=Path, help="of waves; the one that comes with the program")
    parser.add_argument("--bundle", type=Path, help="the model; the one that comes with the program")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    played = []
    try:
        for number in tqdm(range(options.sessions), unit="session", disable=None):
            played.append(play(number, options.out, options))
    except KeyboardInterrupt:
        print("interrupted; what is there is kept, and the same command goes on", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd[2:4])} failed: {error.stderr.strip()}", file=sys.stderr)
        return 1
    print(table(played))
    return 0


if __name__ == "__main__":
    sys.exit(main())
