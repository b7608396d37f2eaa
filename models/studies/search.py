"""The accuracy-for-cost front of architectures: `python -m models.studies.search --data D --out O --steps N`.

Every architecture is trained for the same number of steps from one seed, on the same examples in the same order, and
judged by the validation split; its time is that of ONNX Runtime on one thread, all measured turn by turn in one run.
A short training favours what learns quickly: a front is worth what its steps are. Folder by folder what is done is
kept, and a training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from models.bundle import onnx_network
from models.errors import ModelError
from models.evaluation.tables import Table
from models.training.export import export_unet
from models.training.quantise import interleaved_ms
from models.training.unet import Settings, train
from models.unet import Architecture, UNet, architecture_of

FRAME_PX = 512
"""Side of the frame on which time is measured [px]."""

CANDIDATES = (
    Architecture(8),
    Architecture(16),
    Architecture(24),
    Architecture(32),
    Architecture(24, levels=3),
    Architecture(24, levels=2),
    Architecture(16, kernel=5),
    Architecture(24, norm="group"),
    Architecture(24, norm="instance"),
    Architecture(8, levels=5, stem="full"),
    Architecture(12, levels=4, stem="full"),
)
"""One thing changed at a time about the default, and the widths."""


def name_of(architecture: Architecture) -> str:
    """Such as `half-w24-l4-batch-k3`: of the folder and the row."""
    a = architecture
    return f"{a.stem}-w{a.width}-l{a.levels}-{a.norm}-k{a.kernel}"


def parse(text: str) -> Architecture:
    """The architecture of a name.

    Raises
    ------
    ModelError
        No such name.
    """
    try:
        stem, width, levels, norm, kernel = text.split("-")
        if (width[0], levels[0], kernel[0]) != ("w", "l", "k"):
            raise ValueError("the parts are not in this order")
        described = {"stem": stem, "width": int(width[1:]), "levels": int(levels[1:]), "norm": norm}
        return architecture_of({"architecture": described | {"kernel": int(kernel[1:])}})
    except (ValueError, IndexError) as error:
        raise ModelError(f"{text} is no architecture; write it as {name_of(Architecture())}") from error


def trained(data: Path, out: Path, settings: Settings, device: str, limit: int | None) -> dict[str, Any]:
    """What `training.json` says, after training where that has not been done.

    Raises
    ------
    ModelError
        The folder holds a training with other settings.
    """
    told = out / "training.json"
    if not told.is_file():
        train(data, out, settings, device=device, limit=limit)
    training: dict[str, Any] = json.loads(told.read_text())
    if training["settings"] != json.loads(json.dumps(asdict(settings))):
        raise ModelError(f"{out} holds a training with other settings; choose another folder")
    return training


def search(
    data: Path,
    out: Path,
    architectures: Sequence[Architecture],
    settings: Settings,
    *,
    device: str = "cpu",
    limit: int | None = None,
    repeats: int = 15,
) -> dict[str, Any]:
    """Train, judge and time every architecture; leaves `search.json` and `search.png` in `out`.

    Parameters
    ----------
    settings : of every training; its architecture is replaced.
    limit : so many shards of each preset at the most.
    repeats : of the measurement of time, whose median counts.

    Raises
    ------
    ModelError
        No usable data set, or `out` holds a search with other settings or data.
    """
    rows: dict[str, dict[str, Any]] = {}
    digests = set()
    for architecture in architectures:
        name = name_of(architecture)
        folder = out / name
        training = trained(data, folder, replace(settings, architecture=architecture), device, limit)
        digests.add(training["data"]["digest"])
        if len(digests) > 1:
            raise ModelError(f"{out} holds trainings on different data sets; choose another folder")
        if not (folder / "onnx" / "unet.onnx").is_file():
            export_unet(folder / "unet.safetensors", architecture, folder / "onnx")
        figures = training["validation"]
        dice = {k: v for k, v in figures.items() if k.startswith("dice_")}
        rows[name] = {
            "architecture": architecture.as_dict(),
            "dice": float(np.mean(list(dice.values()))),
            **dice,
            "worst_false_area": max(v for k, v in figures.items() if k.startswith("false_")),
            "score": figures["score"],
            "parameters": sum(p.numel() for p in UNet(architecture).parameters()),
            "receptive_field_nm": architecture.receptive_field_nm(training["preprocessing"]["pixel_size_nm"]),
            "train_seconds": training["seconds"],
        }
    networks = {name: onnx_network(out / name / "onnx" / "unet.onnx") for name in rows}
    for name, milliseconds in interleaved_ms(networks, FRAME_PX, repeats).items():
        rows[name]["cpu_ms"] = milliseconds
    best = front([(row["cpu_ms"], row["dice"]) for row in rows.values()])
    for row, is_best in zip(rows.values(), best, strict=True):
        row["on_front"] = is_best
    result = {"frame_px": FRAME_PX, "steps": settings.steps, "seed": settings.seed, "rows": rows}
    (out / "search.json").write_text(json.dumps(result, indent=1) + "\n")
    picture(result).savefig(out / "search.png", dpi=120)
    return result


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of every (cost, gain): whether no other costs no more and gains no less, one of the two strictly."""
    return [
        not any((c <= cost and g >= gain) and (c < cost or g > gain) for c, g in points)
        for cost, gain in points
    ]


def table_of(result: dict[str, Any]) -> Table:
    """A row an architecture, the quickest first; a star stands on the front."""
    columns = ("", "Dice", "score", f"ms, {result['frame_px']}²", "parameters", "receptive field")
    rows = sorted(result["rows"].items(), key=lambda item: item[1]["cpu_ms"])
    return Table(
        f"{result['steps']} steps",
        columns,
        tuple(
            (
                name,
                "*" if row["on_front"] else "",
                f"{row['dice']:.3f}",
                f"{row['score']:.3f}",
                f"{row['cpu_ms']:.1f}",
                f"{row['parameters']:,}",
                f"{row['receptive_field_nm']:.1f} nm",
            )
            for name, row in rows
        ),
    )


def picture(result: dict[str, Any]) -> Figure:
    """Dice over milliseconds, the front joined by a line."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    rows = result["rows"]
    for name, row in rows.items():
        axes.plot(row["cpu_ms"], row["dice"], "o" if row["on_front"] else "x", color="C0")
        axes.annotate(
            name, (row["cpu_ms"], row["dice"]), textcoords="offset points", xytext=(5, 4), fontsize=7
        )
    best = sorted((row["cpu_ms"], row["dice"]) for row in rows.values() if row["on_front"])
    axes.plot(*zip(*best, strict=True), "-", color="C0", lw=0.8)
    axes.set(
        xscale="log",
        xlabel=f"CPU milliseconds of {result['frame_px']}², one thread",
        ylabel=f"Dice, validation, after {result['steps']} steps",
    )
    axes.grid(alpha=0.3)
    return figure


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.search", description="Accuracy against cost of architectures."
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.add_argument("--steps", type=int, default=600, help="of every training (600)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="shards of each preset that are read (all)")
    told = f"what to train, such as {name_of(Architecture())}; several (a list that is built in)"
    parser.add_argument("--architecture", action="append", metavar="NAME", help=told)
    parser.add_argument("--bfloat16", action="store_true", help="multiply in bfloat16 while training")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what trains (cpu)")
    options = parser.parse_args(arguments)
    try:
        chosen = [parse(text) for text in options.architecture] if options.architecture else CANDIDATES
        result = search(
            options.data,
            options.out,
            chosen,
            Settings(steps=options.steps, seed=options.seed, bfloat16=options.bfloat16),
            device=options.device,
            limit=options.limit,
        )
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    print(table_of(result).as_text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
