"""A frame through the whole chain in torch gives what the CPU gives, in single precision and in half."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.analysis import analyse
from models.bundle import SHIPPED, Bundle
from models.device.chain import Chain
from models.device.network import Segmenter, folded
from models.illumination import light_of
from models.quality.frame import sampled
from models.quality.likeness import shape_of
from models.quality.spectrum import NATIVE_TILE, TILE, tiled_power
from models.segment import Calibration
from models.unet import Architecture, UNet, architecture_of, read_unet
from monitor.workers.agreement import TOLERANCE, compare
from tests.models.device.conftest import STEP, Known


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_folding_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    for norm in ("batch", "group"):
        net = UNet(Architecture(4, levels=3, norm=norm)).train()
        for _ in range(3):  # statistics that are not those of an untrained net
            net(torch.randn(2, 1, 32, 32) * 3 + 1)
        net.eval()
        image = torch.randn(1, 1, 48, 48)
        with torch.no_grad():
            torch.testing.assert_close(folded(net)(image), net(image), rtol=1e-4, atol=1e-4)


def test_what_is_seen_is_what_the_cpu_sees(known: Known, chain: Chain) -> None:
    seen = chain.see(known.counts, STEP)
    assert seen.prepared.scale == known.prepared.scale
    assert np.sqrt(np.mean((seen.prepared.image - known.prepared.image) ** 2)) < 2e-3
    assert dice(seen.maps[0] > 0.5, known.maps[0] > 0.5) > 0.999
    light, pixels = light_of(known.counts.astype(np.float32)), known.counts
    np.testing.assert_allclose(seen.light.level, light.level, rtol=1e-4)
    np.testing.assert_allclose(seen.light.noise, light.noise, rtol=1e-3)
    for found, expected in zip(seen.light.lines, light.lines, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert seen.light.black == light.black
    found, expected = seen.sample, sampled(pixels)
    for name in ("mean", "spread", "at_highest", "ground", "level", "step"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-3, err_msg=name)
    assert found.powers is not None
    powers = tiled_power(known.prepared.image, TILE, 3), tiled_power(known.counts, NATIVE_TILE, 8)
    for one, other in zip(found.powers, powers, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.02, atol=1e-4 * other.max())
    shape = shape_of(known.prepared.image, seen.maps[0])
    np.testing.assert_allclose(seen.shape.frame, shape.frame, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(seen.shape.slow, shape.slow, rtol=2e-3, atol=2e-3)
    assert (seen.shape.sureness, seen.shape.marked) == pytest.approx((shape.sureness, shape.marked), rel=1e-3)


def test_a_frame_is_the_same_alone_and_in_a_batch(known: Known, chain: Chain) -> None:
    frames = [np.ascontiguousarray(frame[:320, :320]) for frame in (known.counts[::-1], known.counts)]
    together, alone = chain.run(frames, STEP), chain.run(frames[1:], STEP)
    torch.testing.assert_close(together.images[1], alone.images[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(together.maps[1], alone.maps[0], rtol=0, atol=1e-3)


def test_half_precision_leaves_the_regions_as_they_are(known: Known, bundle: Bundle) -> None:
    net = read_unet(SHIPPED / "unet.safetensors", architecture_of(bundle.details["unet"]))
    image = torch.from_numpy(known.prepared.image)[None]
    with torch.inference_mode():
        single, half = (Segmenter(net, Calibration(), "cpu", p)(image)[0] for p in ("float32", "bfloat16"))
    assert dice((single[0] > 0.5).numpy(), (half[0] > 0.5).numpy()) > 0.995


def test_without_a_label_image_all_else_is_the_same(known: Known, bundle: Bundle, chain: Chain) -> None:
    for judging in (bundle, replace(bundle, device=chain)):
        labelled = analyse(known.counts, STEP, judging)
        assert labelled.labels is not None
        assert 0.01 < labelled.quality["covered"] == (labelled.labels > 0).mean()
        without = analyse(known.counts, STEP, judging, labelled=False)
        assert without.labels is None
        assert (without.particles, without.quality) == (labelled.particles, labelled.quality)


def test_frames_may_be_read_only_of_any_type_and_order_of_bytes(
    known: Known, bundle: Bundle, chain: Chain
) -> None:
    on_device = replace(bundle, device=chain, backend=chain.backend)
    counts = np.ascontiguousarray(known.counts[:320, :320])
    expected = analyse(counts, STEP, on_device)
    gaps = counts.copy()
    gaps[100:102] = 65535  # a gap of the detector
    read_only = counts.astype(">u2")
    read_only.flags.writeable = False
    for other in (read_only, counts.astype(np.int32), counts.astype(np.float64), counts[::-1][::-1]):
        found = analyse(other, STEP, on_device)
        assert compare(expected, found, 0.01).differences == ()
    assert analyse(gaps, STEP, on_device).backend == chain.backend


def test_what_is_not_lit_is_not_judged_on_a_device_either(known: Known, bundle: Bundle, chain: Chain) -> None:
    on_device = replace(bundle, device=chain, backend=chain.backend)
    dark = known.counts.copy()
    dark[:200] = np.random.default_rng(2).poisson(2, (200, dark.shape[1]))
    one, other = analyse(dark, STEP, on_device), analyse(dark, STEP, bundle)
    assert one.quality["unjudged_share"] == other.quality["unjudged_share"] > 0.2
    assert compare(other, one, TOLERANCE).differences == ()


def test_the_analysis_agrees_with_that_of_the_cpu(known: Known, bundle: Bundle, chain: Chain) -> None:
    expected = analyse(known.counts, STEP, bundle)
    on_device = replace(bundle, device=chain, backend=chain.backend)
    found = analyse(known.counts, STEP, on_device)
    assert found.backend == "torch-cpu"
    assert len(expected.particles) >= 2
    agreement = compare(expected, found, TOLERANCE)
    assert agreement.differences == ()
    assert agreement.matched == len(expected.particles)
    assert agreement.largest < 0.02  # of the same network in the same precision: a tenth of the tolerance
    assert found.labels is not None
    assert expected.labels is not None
    assert dice(found.labels > 0, expected.labels > 0) > 0.999
    for name, value in expected.quality.items():
        if isinstance(value, float):
            assert found.quality[name] == pytest.approx(value, rel=0.02, abs=0.01), name
