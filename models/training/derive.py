"""Making a bundle: its manifest, and new versions of a bundle that exists."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from models.bundle import FILES, FORMAT, FORMS_OF_FOREST, INT8, describe, file_hash, identity, load_bundle
from models.errors import BundleRefused, ModelError
from models.results import CLASSES
from models.segment import Calibration, Segmentation


def write_manifest(folder: Path, name: str, details: dict[str, Any]) -> str:
    """Write `bundle.json` beside the finished files; returns the bundle's identity."""
    hashes = {
        file: file_hash(folder / file) for file in (*FILES, INT8) if file in FILES or (folder / file).exists()
    }
    details = {"format": FORMAT, "name": name, "classes": list(CLASSES), **details, "sha256": hashes}
    (folder / "bundle.json").write_text(json.dumps(details, indent=1) + "\n")
    return identity(details)


def derive(
    bundle: Path,
    out: Path,
    *,
    provenance: dict[str, Any],
    unet_weights: Path | None = None,
    forest: Path | None = None,
    figures: dict[str, Any] | None = None,
    calibration: Calibration | None = None,
    segmentation: Segmentation | None = None,
    name: str | None = None,
) -> Path:
    """Make a new version of a bundle: other weights or settings, everything else carried over; returns `out`.

    The metrics are the parent's: `metrics_of` names the bundle on which they were measured. With a name of its own it
    is no version but a bundle by itself, whose metrics are among `figures`.

    Parameters
    ----------
    provenance : what was done and with what; kept as `provenance`.
    unet_weights : a safetensors file of the same architecture; `None`: the parent's.
    forest : folder with both forms of a forest of the same features; `None`: the parent's.
    figures : what the manifest says of it, such as `confusion`, `rates`, `rates_by_condition`, `forest`; the parent's
        where they are not given.
    calibration, segmentation : `None`: the parent's.

    Raises
    ------
    BundleRefused
        The parent is refused, the weights do not fit it, or there is something at `out` already.
    """
    parent, details = describe(bundle)
    load_bundle(bundle, "cpu")  # nothing is derived from what would not be loaded
    if out.exists():
        raise BundleRefused(f"{out} is there already; a bundle is never overwritten")
    changed, name = _identity_of_new(details, parent, name)
    changed["provenance"] = provenance
    if calibration is not None:
        changed["calibration"] = calibration.as_dict()
    if segmentation is not None:
        changed["segmentation"] = segmentation.as_dict()
    changed |= figures or {}
    architecture = details["unet"]
    if unet_weights is not None:
        changed.pop("preferred_backend", None)  # the new weights have not been quantised
        changed.pop("likeness", None)  # nor compared with: what the network is sure of is part of it
        changed["metrics"] = {k: v for k, v in details["metrics"].items() if k != "backends"}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _fill(partial, bundle, unet_weights, forest, architecture)
        write_manifest(partial, name, changed)
        load_bundle(partial, "cpu")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def training_of(unet: Path) -> dict[str, Any]:
    """What is known of how the network in a folder, a training's or a bundle's, was trained.

    Raises
    ------
    ModelError
        There is none in it.
    """
    for name in ("training.json", "bundle.json"):
        if (unet / name).is_file():
            details: dict[str, Any] = json.loads((unet / name).read_text())
            return details if name == "training.json" else details["unet"]["training"]
    raise ModelError(f"{unet} holds no trained network; make one with: faultwatch train unet --out {unet}")


def _identity_of_new(details: dict[str, Any], parent: str, name: str | None) -> tuple[dict[str, Any], str]:
    """What is carried over of the parent's manifest, and the new bundle's name."""
    changed = {k: v for k, v in details.items() if k not in ("sha256", "format", "name", "classes")}
    changed["parent"] = parent
    if name is not None:
        return {k: v for k, v in changed.items() if k not in ("version", "metrics_of")}, name
    changed["version"] = version = int(details.get("version", 1)) + 1
    changed.setdefault("metrics_of", parent)
    return changed, re.sub(r"-v\d+$", "", str(details["name"])) + f"-v{version}"


def _fill(
    folder: Path, bundle: Path, unet_weights: Path | None, forest: Path | None, unet: dict[str, Any]
) -> None:
    """Put the files of a new version into its folder: the parent's, or new ones where they are given."""
    for file in FORMS_OF_FOREST:
        shutil.copyfile((forest or bundle) / file, folder / file)
    if unet_weights is None:
        for file in (*FILES, INT8):
            if file not in FORMS_OF_FOREST and (bundle / file).exists():
                shutil.copyfile(bundle / file, folder / file)
    else:
        from models.training.export import export_unet
        from models.unet import architecture_of

        export_unet(unet_weights, architecture_of(unet), folder)
