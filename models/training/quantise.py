"""The network in whole numbers of eight bits: `python -m models.training.quantise BUNDLE --data D`.

Static quantisation by ONNX Runtime (QDQ, weights channel by channel), its ranges taken from images of the training
split; the first and the last convolution stay in single precision. Weights have seven bits, so that sums do not
overflow on processors without VNNI either. It is kept in the bundle, and preferred on a CPU,
only where Dice on the validation split falls by no more than `MAY_LOSE` and a frame takes less time; what was measured
of both forms is written into the manifest either way.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import INT8, describe, load_bundle, onnx_network
from models.errors import ModelError
from models.evaluation.evaluate import judge_of
from models.evaluation.judge import Judge, choose, judge, pooled
from models.examples.shards import Examples, examples_by_split
from models.segment import Network, calibrated
from models.training.derive import write_manifest
from models.training.export import strip_notes

MAY_LOSE = 0.005
"""Largest fall of the pooled Dice."""
FRAME_PX = 512
"""Side of the frame that is timed [px]."""


def quantise(onnx: Path, out: Path, images: Sequence[npt.NDArray[np.float32]]) -> None:
    """Write the eight-bit form of a network.

    Parameters
    ----------
    onnx : the network in single precision.
    images : standardised images (H, W), sides multiples of 16, that the ranges of its values are taken from.
    """
    import onnx as format_of
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {"image": image[None, None]}

    logging.getLogger().addFilter(_unimportant)
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(onnx), str(prepared), skip_symbolic_shape=True)
            nodes = [n.name for n in format_of.load(prepared).graph.node if n.op_type == "Conv"]
            quantize_static(
                str(prepared),
                str(out),
                Images(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[nodes[0], nodes[-1]],
                extra_options={"ActivationSymmetric": False},
            )
    finally:
        logging.getLogger().removeFilter(_unimportant)
    strip_notes(out)


def _unimportant(record: logging.LogRecord) -> bool:
    """Silence the quantiser's advice to prepare the model, which has been done."""
    return "pre-processing" not in record.getMessage()


def interleaved_ms(
    networks: dict[str, Network], size: int = FRAME_PX, repeats: int = 15, seed: int = 0
) -> dict[str, float]:
    """Median time of a frame [ms] for each network, measured turn by turn so that they share what disturbs them."""
    image = np.random.default_rng(seed).normal(size=(1, 1, size, size)).astype(np.float32)
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for name in networks:
        networks[name](image)
    for _ in range(repeats):
        for name, run in networks.items():
            started = time.perf_counter()
            run(image)
            taken[name].append((time.perf_counter() - started) * 1e3)
    return {name: float(np.median(times)) for name, times in taken.items()}


def compare(
    by: Judge, networks: dict[str, Network], data: Examples, chosen: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Pooled Dice and time of a frame [ms] of each form of a network."""
    times = interleaved_ms(networks)
    return {
        name: {
            "dice": float(pooled(judge(replace(by, network=network), data, chosen).verdicts)["dice"] or 0.0),
            "ms": times[name],
        }
        for name, network in networks.items()
    }


def better(figures: dict[str, dict[str, float]]) -> bool:
    """Whether the eight-bit form is to be shipped."""
    small, full = figures["onnx-int8"], figures["onnx"]
    return small["dice"] >= full["dice"] - MAY_LOSE and small["ms"] < full["ms"]


def add_int8(
    bundle: Path, data: Path, *, tiles: int = 64, most: int = 300, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Quantise a bundle's network, measure both forms, and keep the new one if it is better; returns the figures.

    Raises
    ------
    BundleRefused, ModelError
        No such bundle or data set.
    """
    loaded = load_bundle(bundle, "cpu")
    by = judge_of(loaded)
    learn, check = examples_by_split(data, ["train"]), examples_by_split(data, ["validation"])
    drawn = np.random.default_rng(seed).permutation(len(learn))[:tiles]
    images: Iterator[npt.NDArray[np.float32]] = (
        by.prepare(learn.images[i].astype(np.float32)) for i in drawn
    )
    made = bundle / f"{INT8}.partial"
    try:
        quantise(bundle / "unet.onnx", made, list(images))
        networks = {
            "onnx": calibrated(onnx_network(bundle / "unet.onnx"), loaded.calibration),
            "onnx-int8": calibrated(onnx_network(made), loaded.calibration),
        }
        figures = compare(by, networks, check, choose(check, most, seed).tolist())
        _keep(bundle, made if better(figures) else None, figures)
    finally:
        made.unlink(missing_ok=True)
    return figures


def _keep(bundle: Path, made: Path | None, figures: dict[str, dict[str, float]]) -> None:
    """Write the figures into the manifest, with the eight-bit form or without."""
    _, details = describe(bundle)
    details["metrics"]["backends"] = figures
    details.pop("preferred_backend", None)
    if made is None:
        (bundle / INT8).unlink(missing_ok=True)
    else:
        made.replace(bundle / INT8)
        details["preferred_backend"] = "onnx-int8"
    name = str(details["name"])
    write_manifest(bundle, name, {k: v for k, v in details.items() if k not in ("sha256", "name")})


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.quantise",
        description="An eight-bit form of a bundle's network, if it pays.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    parser.add_argument("--tiles", type=int, default=64, help="training images that ranges are taken from")
    parser.add_argument("--images", type=int, default=300, help="validation images that are judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        figures = add_int8(
            options.bundle, options.data, tiles=options.tiles, most=options.images, seed=options.seed
        )
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    if options.json:
        print(json.dumps({**figures, "kept": better(figures)}))
        return 0
    for name, row in figures.items():
        print(f"{name:10} Dice {row['dice']:.4f}   {row['ms']:7.1f} ms for a frame of {FRAME_PX}²")
    print(
        "the eight-bit form is " + ("kept" if better(figures) else "not kept: it loses too much or no time")
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
