"""The eight-bit form: it says what the network says, and is kept only where it is as good and quicker."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.bundle import INT8, SHIPPED, describe, load_bundle, onnx_network, torch_network
from models.errors import BundleRefused
from models.training import quantise as quantising
from models.training.export import export_unet
from models.unet import Architecture, UNet


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of width 8 with weights as they are drawn, in both forms."""
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    net = UNet(Architecture(width=8, levels=2))
    save_file(net.state_dict(), folder / "weights.safetensors")
    export_unet(folder / "weights.safetensors", net.architecture, folder)
    return folder


def test_other_architectures_are_exported_alike(small: Path) -> None:
    image = np.random.default_rng(0).normal(size=(1, 1, 64, 96)).astype(np.float32)
    onnx, torch_form = onnx_network(small / "unet.onnx"), torch_network(small, Architecture(8, 2), "cpu")
    np.testing.assert_allclose(onnx(image), torch_form(image), atol=1e-4)
    with pytest.raises(BundleRefused, match="does not hold this network"):
        export_unet(small / "weights.safetensors", Architecture(4, 2), small / "other")
    assert not (small / "other").exists()


def test_eight_bits_say_nearly_the_same(small: Path) -> None:
    rng = np.random.default_rng(1)
    images = [rng.normal(size=(64, 64)).astype(np.float32) for _ in range(4)]
    quantising.quantise(small / "unet.onnx", small / INT8, images)
    full, eight = onnx_network(small / "unet.onnx"), onnx_network(small / INT8)
    image = rng.normal(size=(1, 1, 64, 80)).astype(np.float32)
    a, b = full(image), eight(image)
    assert np.abs(a - b).max() > 0  # whole numbers, indeed
    assert np.abs(a - b).mean() < 0.2 * a.std()
    assert (small / INT8).stat().st_size < 0.7 * (small / "unet.onnx").stat().st_size
    assert b"/" + str(Path.cwd()).encode()[1:] not in (small / INT8).read_bytes()


@pytest.mark.parametrize(
    ("dice", "ms", "kept"),
    [(0.896, 50.0, True), (0.894, 50.0, False), (0.91, 101.0, False), (0.9, 99.0, True)],
)
def test_it_must_be_as_good_and_quicker(dice: float, ms: float, kept: bool) -> None:
    figures = {"onnx": {"dice": 0.9, "ms": 100.0}, "onnx-int8": {"dice": dice, "ms": ms}}
    assert quantising.better(figures) is kept


def test_times_are_medians_by_turns() -> None:
    calls: list[str] = []

    def named(name: str):
        return lambda image: calls.append(name) or image

    times = quantising.interleaved_ms({"a": named("a"), "b": named("b")}, size=32, repeats=3)
    assert set(times) == {"a", "b"}
    assert calls[2:] == ["a", "b"] * 3


@pytest.mark.parametrize("quicker", [True, False])
def test_a_bundle_keeps_it_only_if_it_pays(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quicker: bool
) -> None:
    copy = Path(shutil.copytree(SHIPPED, tmp_path / "bundle"))
    (copy / INT8).unlink(missing_ok=True)
    told = json.loads((copy / "bundle.json").read_text())
    told.pop("preferred_backend", None)
    told["sha256"].pop(INT8, None)
    (copy / "bundle.json").write_text(json.dumps(told))
    plain = describe(copy)[0]
    monkeypatch.setattr(
        quantising, "interleaved_ms", lambda networks: {"onnx": 10.0, "onnx-int8": 5.0 if quicker else 20.0}
    )
    figures = quantising.add_int8(copy, discs, tiles=4, most=2)
    assert figures["onnx-int8"]["dice"] == pytest.approx(figures["onnx"]["dice"], abs=0.005)
    bundle = load_bundle(copy, "cpu")
    assert bundle.details["metrics"]["backends"] == figures
    assert (copy / INT8).exists() is quicker
    assert bundle.backend == ("onnx-int8" if quicker else "onnxruntime-cpu")
    assert (bundle.id == plain) is not quicker
    if quicker:
        details = json.loads((copy / "bundle.json").read_text())
        (copy / INT8).write_bytes(b"something else")
        with pytest.raises(BundleRefused, match="damaged"):
            load_bundle(copy, "cpu")
        del details["preferred_backend"]
        (copy / INT8).unlink()
        del details["sha256"][INT8]
        (copy / "bundle.json").write_text(json.dumps(details))
        assert load_bundle(copy, "cpu").backend == "onnxruntime-cpu"
