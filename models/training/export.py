"""Turn trained weights into the form in which a bundle ships them."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path

import onnx
import torch

from models.unet import Architecture, read_unet


def export_unet(weights: Path, architecture: Architecture, folder: Path) -> None:
    """Copy `unet.safetensors` into the folder and write `unet.onnx` beside it (any height and width, batch 1).

    Raises
    ------
    BundleRefused
        The weights can't be read, or are those of another network.
    """
    net = read_unet(weights, architecture).eval()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / "unet.safetensors")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            net,
            (torch.zeros(1, 1, 256, 256),),
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {2: 16 * torch.export.Dim("rows16", min=1, max=1024),
                                      3: 16 * torch.export.Dim("cols16", min=1, max=1024)}},
            dynamo=True,
            verbose=False,
        )  # fmt: skip
    assert program is not None
    program.save(folder / "unet.onnx", external_data=False)
    strip_notes(folder / "unet.onnx")


def strip_notes(path: Path) -> None:
    """Take out what the exporter noted of the source lines: a model says nothing of where it was made."""
    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)
