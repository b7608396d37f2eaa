"""The GPU worker, checked and timed: `python -m monitor.studies.device --device cuda --out DIR`.

On a machine with a GPU one call compares its results with the CPU's, measures the device's peaks, every stage and the
whole chain from files on, and writes six small files: `machine.json`, `agreement.json`, `stages.json`,
`cpu.json`, `throughput.json`, `summary.md`. With `--device cpu` the same runs in torch on the CPU, where it is tested.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from models.analysis import analyse
from models.bundle import Bundle, device_chain, load_bundle
from models.device.chain import Chain
from models.device.costs import Peaks, Remembered, counted, measured, peaks_of, seconds
from models.device.sight import Crops, crops_of
from models.device.there import TORCH_CPU, why_no_cuda
from models.results import Analysis
from models.runtime import one_opencv_thread
from models.segment import regions
from monitor.frames import FrameRef, pixels_hash
from monitor.outcomes import FinishedFrame
from monitor.read import open_frames
from monitor.settings import processors
from monitor.tracking.signature import signature, to_png
from monitor.workers.agreement import TOLERANCE, compare, match
from monitor.workers.pool import Workers
from monitor.workers.worker import Start, Task, preview

Counts = npt.NDArray[np.uint16]

PIXEL_NM = 0.025
"""Sampling of the frames [nm]."""
PARTICLES = 10
"""Particles of a frame of 1024²; larger frames have as many an area."""
DISTINCT = 6
"""Frames of each size that are different."""
HIGHEST_COUNT = 60000


def frame(side: int, seed: int) -> Counts:
    """A frame of noise with round particles, 3 to 7 nm across, that have fringes of layers and of a row."""
    rng = np.random.default_rng(seed)
    light = np.full((side, side), 200.0, np.float32)
    for _ in range(max(1, round(PARTICLES * (side / 1024) ** 2))):
        radius, turn = rng.uniform(1.5, 3.5) / PIXEL_NM, rng.uniform(0, np.pi)
        row, col = rng.uniform(0, side, 2)
        top, left = (max(0, int(at - radius)) for at in (row, col))
        here = slice(top, int(row + radius) + 1), slice(left, int(col + radius) + 1)
        rows, cols = np.ogrid[: light[here].shape[0], : light[here].shape[1]]
        rows, cols = rows + top - row, cols + left - col
        along = 2.85 * PIXEL_NM * (np.cos(turn) * rows + np.sin(turn) * cols)
        across = 2.687 * PIXEL_NM * (np.cos(turn) * cols - np.sin(turn) * rows)
        fringes = 40 * np.cos(2 * np.pi * along) + 30 * np.cos(2 * np.pi * (across + along / 3)) - 40
        light[here] += (np.hypot(rows, cols) < radius) * fringes
    return rng.poisson(light.clip(1)).clip(0, HIGHEST_COUNT).astype(np.uint16)


@dataclass(frozen=True)
class Agreed:
    """How far the device's analysis of one frame is from the CPU's."""

    side: int
    particles: int
    """Of the CPU."""
    matched: int
    dice: float
    """Of the two label images, particles against the rest."""
    largest_probability: float
    other_class: int
    differences: tuple[str, ...]
    """What `faultwatch verify` would say."""
    features: dict[str, float]
    """Of matched particles: 95 % quantile and maximum of the features' differences, in standard deviations."""


def agreed(expected: Analysis, found: Analysis) -> Agreed:
    """The comparison of two analyses of one frame."""
    agreement = compare(expected, found, TOLERANCE)
    pairs, _, _ = match(expected.particles, found.particles)
    assert expected.labels is not None
    assert found.labels is not None
    one, other = expected.labels > 0, found.labels > 0
    return Agreed(
        side=expected.shape[0],
        particles=len(expected.particles),
        matched=agreement.matched,
        dice=float(2 * (one & other).sum() / max(1, one.sum() + other.sum())),
        largest_probability=agreement.largest,
        other_class=sum(a.particle_class != b.particle_class for a, b in pairs),
        differences=agreement.differences,
        features=_feature_differences([(a.features, b.features) for a, b in pairs]),
    )


def _feature_differences(pairs: Sequence[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    if len(pairs) < 2:
        return {}
    names = sorted(set.intersection(*(set(each) for pair in pairs for each in pair)))
    one, other = (np.array([[pair[k][name] for name in names] for pair in pairs]) for k in (0, 1))
    off = np.abs(one - other) / (one.std(axis=0) + 1e-3)
    return {"quantile_95": float(np.quantile(off, 0.95)), "largest": float(off.max())}


def crops_for(chain: Chain, bundle: Bundle, counts: Counts) -> Crops:
    """The regions of a frame, as they are sent."""
    seen, step = chain.see(counts, PIXEL_NM), bundle.preprocessing.pixel_size_nm
    labels = regions(seen.maps, step, bundle.segmentation)
    return crops_of(seen.prepared.image, labels, ndimage.find_objects(labels), step, None)


def stages(chain: Chain, bundle: Bundle, side: int, batch: int, repeats: int, peaks: Peaks) -> dict[str, Any]:
    """Each stage of a batch of frames: measured, and its floor by bytes, operations and kernels."""
    frames: list[npt.NDArray[Any]] = [frame(side, seed) for seed in range(batch)]
    crops = [crops_for(chain, bundle, each) for each in frames]
    times = measured(chain, frames, PIXEL_NM, crops, repeats)
    costs = counted(chain, frames, PIXEL_NM, crops)
    half = chain.precision != "float32"
    return {
        "side": side,
        "batch": batch,
        "regions": sum(len(each.boxes) for each in crops),
        "stages": {
            stage: {
                "ms": times.get(stage),
                "floor_ms": 1e3 * seconds(cost, peaks, half and stage == "network"),
                **asdict(cost),
            }
            for stage, cost in costs.items()
        },
        "frames_per_s_waiting_for_each": 1e3 * batch / sum(times.values()),
    }


def cpu_part(bundle: Bundle, side: int, repeats: int) -> dict[str, float]:
    """What a worker does of a frame while the device does nothing: processor time, the median [ms]."""
    assert bundle.device is not None
    told = replace(bundle, device=Remembered(bundle.device))
    counts = frame(side, 100)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.tif"
        tifffile.imwrite(path, counts)
        steps: dict[str, Callable[[], object]] = {
            "read": lambda: _read(path),
            "analysis": lambda: analyse(counts, PIXEL_NM, told, labelled=False),
            "preview": lambda: preview(counts),
            "hash": lambda: pixels_hash(counts),
            "signature": lambda: to_png(signature(counts, PIXEL_NM)),
        }
        found = {name: _processor_ms(step, repeats) for name, step in steps.items()}
    particles = analyse(counts, PIXEL_NM, told).particles
    return {"side": side, "particles": len(particles), **found, "sum": sum(found.values())}


def _read(path: Path) -> Counts:
    with open_frames(path, "frames") as file:
        return np.asarray(file.frame(0).pixels)


def _processor_ms(step: Callable[[], object], repeats: int) -> float:
    step()
    times = []
    with one_opencv_thread():
        for _ in range(repeats):
            since = time.thread_time()
            step()
            times.append((time.thread_time() - since) * 1e3)
    return float(np.median(times))


def throughput(device: str, bundle: Path | None, side: int, workers: int, frames: int) -> dict[str, Any]:
    """Frames a second from files to results, by the workers of a session, and how long each frame takes."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for seed in range(DISTINCT):
            paths.append(Path(folder) / f"{seed}.tif")
            tifffile.imwrite(paths[-1], frame(side, seed))
        news = threading.Event()
        how = Start(bundle, TORCH_CPU if device == "cpu" else device, 1)
        pool = Workers(how, workers, time_limit_s=120.0, clock=time.monotonic, wake=news.set)
        try:
            while pool.ready is None:
                pool.finished()
                time.sleep(0.05)
            _run(pool, paths, workers, news)  # warm, all of them
            took, found = _run(pool, paths, frames, news)
        finally:
            pool.close()
    times = np.array([ms for ms, _ in found])
    return {
        "side": side,
        "workers": workers,
        "frames": frames,
        "backends": sorted({backend for _, backend in found}),
        "frames_per_s": frames / took,
        "delay_ms": {f"p{q}": float(np.percentile(times, q)) for q in (50, 95, 99)},
    }


def _run(
    pool: Workers, paths: Sequence[Path], frames: int, news: threading.Event
) -> tuple[float, list[tuple[float, str]]]:
    """Seconds for some frames, and of each how long it took [ms] and what judged it."""
    waiting = deque(range(frames))
    began: dict[int, float] = {}
    found: list[tuple[float, str]] = []
    since = time.monotonic()
    while len(found) < frames:
        news.clear()
        while waiting and pool.free():
            n = waiting[0]
            if not pool.submit(Task(n, 0, FrameRef(paths[n % len(paths)], 0), PIXEL_NM, None, None)):
                break
            began[waiting.popleft()] = time.monotonic()
        for done in pool.finished():
            outcome = done.outcome
            what = outcome.analysis.backend if isinstance(outcome, FinishedFrame) else "none"
            found.append((1e3 * (time.monotonic() - began[done.task.frame_id]), what))
        news.wait(0.05)
    return time.monotonic() - since, found


def machine(device: str) -> dict[str, Any]:
    """What this was measured on."""
    import torch

    told: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "processor": platform.processor() or platform.machine(),
        "cores": processors(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "device": device,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        told |= {"gpu": properties.name, "gpu_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return told


def summary(found: dict[str, Any]) -> str:
    """The figures for a person, in Markdown."""
    lines = ["# The GPU worker, measured", "", "```", json.dumps(found["machine"], indent=1), "```", ""]
    lines += ["| frame | particles | matched | Dice | largest difference of a probability | other class |"]
    lines += ["|---|---|---|---|---|---|"]
    for each in found["agreement"]:
        lines.append(
            f"| {each['side']}² | {each['particles']} | {each['matched']} | {each['dice']:.5f} | "
            f"{each['largest_probability']:.3f} | {each['other_class']} |"
        )
    for each in found["stages"]:
        lines += ["", f"{each['batch']} frames of {each['side']}² with {each['regions']} regions:", ""]
        lines += ["| stage | ms | floor, ms | kernels | MB | GFLOP | MB to or from the host |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for stage, cost in each["stages"].items():
            ms = "" if cost["ms"] is None else f"{cost['ms']:.2f}"
            lines.append(
                f"| {stage} | {ms} | {cost['floor_ms']:.2f} | {cost['kernels']} | {cost['bytes'] / 1e6:.0f} | "
                f"{cost['operations'] / 1e9:.1f} | {cost['host_bytes'] / 1e6:.1f} |"
            )
    lines += ["", "A worker's own part, processor time in ms:", ""]
    names = list(found["cpu"][0])
    lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(f"{each[name]:.0f}" for name in names) + " |" for each in found["cpu"]]
    lines += ["", "| frames | workers | frames/s | delay p50, ms | p95 | p99 |", "|---|---|---|---|---|---|"]
    for each in found["throughput"]:
        delay = each["delay_ms"]
        lines.append(
            f"| {each['side']}² | {each['workers']} | {each['frames_per_s']:.2f} | {delay['p50']:.0f} | "
            f"{delay['p95']:.0f} | {delay['p99']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def study(
    device: str, out: Path, sides: Sequence[int], *, frames: int, workers: int, repeats: int, batch: int
) -> dict[str, Any]:
    """Everything, and the files.

    Parameters
    ----------
    frames
        Of each size, for the throughput.
    batch
        Frames that the stages are measured with, beside a single one.
    """
    out.mkdir(parents=True, exist_ok=True)
    on_cpu = load_bundle(device="cpu")
    chain = device_chain(on_cpu, device)
    on_device = load_bundle(device=TORCH_CPU if device == "cpu" else device)
    peaks = peaks_of(device)
    found: dict[str, Any] = {"machine": {**machine(device), "peaks": asdict(peaks)}}
    found["agreement"] = []
    for side in sides:
        counts = frame(side, 100)
        expected, seen = (analyse(counts, PIXEL_NM, bundle) for bundle in (on_cpu, on_device))
        found["agreement"].append(asdict(agreed(expected, seen)))
    found["stages"] = [
        stages(chain, on_cpu, side, n, repeats, peaks) for side in sides for n in sorted({1, batch})
    ]
    found["cpu"] = [cpu_part(on_device, side, repeats) for side in sides]
    found["throughput"] = [throughput(device, None, side, workers, frames) for side in sides]
    for name, what in found.items():
        (out / f"{name}.json").write_text(json.dumps(what, indent=1))
    (out / "summary.md").write_text(summary(found))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the study; where there is no such device, say why."""
    parser = argparse.ArgumentParser(
        prog="python -m monitor.studies.device", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cuda")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the six files go")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[1024, 2048, 4096], metavar="PX", help="1024 2048 4096"
    )
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="of each size (200)")
    parser.add_argument("--workers", type=int, default=processors(), metavar="N", help="one for each core")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="of each stage (10)")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="frames of a batch (4)")
    options = parser.parse_args(arguments)
    missing = why_no_cuda() if options.device == "cuda" else None
    if missing is not None:
        parser.error(missing)
    how = {name: getattr(options, name) for name in ("frames", "workers", "repeats", "batch")}
    found = study(options.device, options.out, options.sides, **how)
    print(summary(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
