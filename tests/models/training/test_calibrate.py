"""Calibration: a known distortion is found and undone, whatever it was, and the network's map rises."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from models.bundle import SHIPPED, load_bundle, onnx_network
from models.errors import BundleRefused, ModelError
from models.evaluation.judge import Judge, choose
from models.evaluation.scores import Reliability
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing
from models.segment import Calibration, Segmentation, calibrated, logit_maps, probabilities, probability_maps
from models.training.calibrate import Counts, calibrate, fit, main


def pixels_of(scale: float, bias: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(500, 600) logits z and truths drawn with probability σ(scale · z + bias)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 3, (500, 600)).astype(np.float32)
    return z, rng.uniform(size=z.shape) < probabilities(scale * z + bias)


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.4, 0.7), (2.5, -1.2), (0.8, 3.0)])
def test_a_known_distortion_is_found(scale: float, bias: float) -> None:
    z, truth = pixels_of(scale, bias)
    counts = Counts()
    counts.add(z, truth)
    found = counts.line()
    assert found == (pytest.approx(scale, rel=0.03), pytest.approx(bias, abs=0.05))
    assert counts.log_loss(*found) <= counts.log_loss(scale, bias)
    before, after = Reliability(), Reliability()
    fresh, its_truth = pixels_of(scale, bias, seed=1)
    before.add(probabilities(fresh), its_truth)
    after.add(probabilities(np.float32(found[0]) * fresh + np.float32(found[1])), its_truth)
    assert after.error < 0.006
    if (scale, bias) != (1.0, 0.0):
        assert after.error < before.error / 3


def test_the_threshold_is_where_dice_is_largest() -> None:
    z, truth = pixels_of(0.4, 0.7)
    counts = Counts()
    counts.add(z, truth)
    line = counts.line()
    p = probabilities(np.float32(line[0]) * z + np.float32(line[1]))

    def score(threshold: float) -> float:
        marked = p > threshold
        return 2 * (marked & truth).sum() / (marked.sum() + truth.sum())

    best = counts.best_threshold(*line)
    assert score(best) == pytest.approx(max(score(t) for t in np.arange(5, 96) / 100), abs=1e-3)


def test_what_cannot_be_calibrated_is_refused() -> None:
    z, truth = pixels_of(1.0, 0.0)
    for labels, says in ((np.zeros_like(truth), "inside particles and outside"), (~truth, "fall where")):
        counts = Counts()
        counts.add(z, labels)
        with pytest.raises(ModelError, match=says):
            counts.line()
    for wrong in ({"scale": [0, 1]}, {"scale": [1]}, {"bias": [0, float("nan")]}, {"scale": [-1, 1]}):
        with pytest.raises(ValueError, match="calibration"):
            Calibration(**wrong)


def test_a_calibrated_network_rises_and_is_undone() -> None:
    def network(image: np.ndarray) -> np.ndarray:
        return np.concatenate([image, 2 * image], axis=1)

    line = Calibration((0.5, 2.0), (0.3, -0.1))
    image = np.random.default_rng(0).normal(size=(32, 48)).astype(np.float32)
    raw, now = (logit_maps(image, n) for n in (network, calibrated(network, line)))
    np.testing.assert_allclose(now[0], 0.5 * raw[0] + 0.3, rtol=1e-6)
    np.testing.assert_allclose(now[1], 2 * raw[1] - 0.1, rtol=1e-5)
    np.testing.assert_allclose(line.undone(now), raw, atol=1e-6)
    np.testing.assert_array_equal(np.argsort(now[0].ravel()), np.argsort(raw[0].ravel()))
    assert calibrated(network, Calibration()) is network
    np.testing.assert_array_equal(probability_maps(image, network), probabilities(raw))


def test_a_network_is_calibrated_on_images(discs: Path) -> None:
    """The network knows the discs but is far too sure of them: the fit takes that back."""
    check = examples_by_split(discs, ["validation"])

    def vain(image: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(int(abs(image[0, 0, 0, 0]) * 1e6)).normal(0, 1, image.shape)
        sure = 20 * (np.where(image < -1, 1.0, -1.0) + noise)
        return np.concatenate([sure, sure], axis=1).astype(np.float32)

    by = Judge(vain, Preprocessing(), Segmentation())
    found = fit(by, check, range(len(check)))
    assert found.images == len(check)
    assert found.calibration.scale[0] < 0.3
    assert found.log_loss[1] < 0.5 * found.log_loss[0]
    # Fitted again with what was found, nothing is left to do: the network's own logits are what counts.
    better = calibrated(vain, found.calibration)
    by = Judge(better, Preprocessing(), Segmentation(), found.calibration)
    again = fit(by, check, range(len(check)))
    np.testing.assert_allclose(again.calibration.scale, found.calibration.scale, rtol=1e-3)


def test_a_calibrated_bundle_is_a_new_version(discs: Path, tmp_path: Path) -> None:
    found = calibrate(None, discs, tmp_path / "new", most=4)
    bundle, shipped = load_bundle(tmp_path / "new", "cpu"), load_bundle(SHIPPED, "cpu")
    assert bundle.calibration == found.calibration
    assert bundle.segmentation.threshold == found.threshold
    assert bundle.id != shipped.id
    assert bundle.details["parent"] == shipped.id
    image = np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32)
    scale, bias = (
        np.array(x)[None, :, None, None] for x in (found.calibration.scale, found.calibration.bias)
    )
    raw = shipped.calibration.undone(shipped.network(image)[0])[None]
    np.testing.assert_allclose(bundle.network(image), raw * scale + bias, rtol=1e-4, atol=1e-3)
    with pytest.raises(BundleRefused, match="never overwritten"):
        calibrate(None, discs, tmp_path / "new", most=4)


def test_a_bundle_takes_the_network_of_another_training(discs: Path, tmp_path: Path) -> None:
    """Or weights on the way there; what it was trained on stays told, and it is calibrated as the new network is."""
    shipped = load_bundle(SHIPPED, "cpu")
    before = load_file(SHIPPED / "unet.safetensors")
    learnt = {n: t * 1.02 if t.is_floating_point() else t for n, t in before.items()}
    unet = tmp_path / "training"
    unet.mkdir()
    save_file(learnt, unet / "unet.safetensors")
    training = {k: shipped.details["unet"]["training"][k] for k in ("architecture", "preprocessing")}
    (unet / "training.json").write_text(json.dumps({**training, "steps": 7}))
    where = ["--data", str(discs), "--out", str(tmp_path / "new"), "--images", "4"]
    assert main([*where, "--unet", str(unet), "--share", "0.5"]) == 0
    made = load_bundle(tmp_path / "new", "cpu")
    told = made.details["unet"]["training"]
    assert (told["steps"], told["share_of_the_way"]) == (7, 0.5)
    assert told["before"] == shipped.details["unet"]["training"]
    weights = load_file(tmp_path / "new" / "unet.safetensors")
    for name, value in before.items():
        np.testing.assert_allclose(
            weights[name], value * (1.01 if value.is_floating_point() else 1), rtol=1e-5
        )
    assert made.backend == "onnxruntime-cpu"
    assert made.likeness is None
    again = Judge(onnx_network(tmp_path / "new" / "unet.onnx"), made.preprocessing, made.segmentation)
    check = examples_by_split(discs, ["validation"])
    assert fit(again, check, choose(check, 4, 0)).calibration.scale == pytest.approx(
        made.calibration.scale, rel=1e-3
    )

    (unet / "training.json").write_text(json.dumps(training | {"architecture": {"width": 8}}))
    with pytest.raises(ModelError, match="another shape"):
        calibrate(None, discs, tmp_path / "other", most=4, unet=unet)
