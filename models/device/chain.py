"""The chain on a device: frames of one size go in together, their sights and the numbers of their regions come out.

A frame is uploaded once. What is left of it on the device is the standardised image, until its regions were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.device.figures import CountFigures, shape_figures, tile_powers
from models.device.laps import Lap, nothing
from models.device.network import Precision, Segmenter
from models.device.prepare import Preparer, counts
from models.device.regions import numbers_of
from models.device.sight import Crops, Labels, Numbers, Sight, sight_of
from models.features.measure import LAYER_FREQUENCIES
from models.features.spectrum import RINGS
from models.preprocess import Canonical, Preprocessing
from models.quality.spectrum import NATIVE_TILE, NATIVE_TILES_A_SIDE, TILES_A_SIDE, tile_of
from models.segment import Calibration
from models.unet import UNet

KNOWN_SIZES = 8
"""So many sizes of frames are kept prepared for; a session has one or two."""


@dataclass
class Seen:
    """A batch of frames on the device."""

    images: Tensor
    """(B, h, w) standardised."""
    maps: Tensor
    """(B, 2, h, w) probabilities."""
    figures: list[Tensor]
    """What `models.device.sight.sight_of` reads, each with the frames along its first axis."""
    powers: tuple[Tensor, Tensor]
    """(B, N, tile, tile/2 + 1) `models.quality.spectrum.tiled_power` of the standardised frames and of their counts."""
    scale: tuple[float, float]


class Chain:
    """Preparation, network and measuring on one device; a `models.device.sight.Device` for a frame at a time.

    Work is put into the stream that is current; `run` and `measure` may be called in several threads.

    Parameters
    ----------
    device : as torch names it, `cuda` or `cpu`.
    precision : of the network; half precision on a GPU, single on a CPU where none is named.
    """

    def __init__(
        self,
        net: UNet,
        preprocessing: Preprocessing,
        calibration: Calibration,
        device: str,
        precision: Precision | None = None,
    ) -> None:
        self.device = device
        self.precision: Precision = precision or ("float32" if device == "cpu" else "float16")
        self.backend = f"torch-{device.partition(':')[0]}"
        self._preprocessing = preprocessing
        self._segment = Segmenter(net, calibration, device, self.precision)
        self._sizes: dict[tuple[tuple[int, int], float], tuple[Preparer, CountFigures]] = {}
        self._lock = Lock()
        self._last: Tensor | None = None

    def warm(self, shape: tuple[int, int], pixel_size_nm: float, batch: int = 1) -> None:
        """Have everything loaded, and ways of computing chosen, for frames of a size before the first is there."""
        noise = np.random.default_rng(0).poisson(200, shape).astype(np.uint16)
        seen = self.run([noise] * batch, pixel_size_nm)
        labels = np.zeros(seen.images.shape[1:], np.int32)
        labels[8:40, 8:40] = 1
        crops = Crops(
            labels,
            np.array([[0, 0, 48, 48]], np.int32),
            self._preprocessing.pixel_size_nm,
            np.ones(len(RINGS) - 1),
            tuple(sorted(LAYER_FREQUENCIES.values())),
        )
        self.measure(list(seen.images), [crops] * batch, [labels] * batch)
        self.wait()

    @torch.inference_mode()
    def run(self, frames: Sequence[npt.NDArray[Any]], pixel_size_nm: float, lap: Lap = nothing) -> Seen:
        """Frames (H, W) of one size and type in the host's memory, seen together; a GPU is not waited for."""
        prepare, figures = self._for(frames[0].shape, pixel_size_nm)
        uploaded = [torch.from_numpy(frame).to(self.device, non_blocking=True) for frame in frames]
        pixels = torch.stack([counts(frame) for frame in uploaded])
        lap("upload")
        told = figures(pixels)
        lap("light and counts")
        images = prepare(pixels, lap)
        maps = self._segment(images)
        lap("network")
        told.append(shape_figures(images, maps[:, 0]))
        lap("distribution")
        tile = tile_of((images.shape[1], images.shape[2]))
        powers = (
            tile_powers(images, tile, TILES_A_SIDE),
            tile_powers(pixels, NATIVE_TILE, NATIVE_TILES_A_SIDE),
        )
        lap("averaged spectra")
        return Seen(images, maps, told, powers, prepare.scale)

    @torch.inference_mode()
    def measure(
        self, images: Sequence[Tensor], asked: Sequence[Crops], labels: Sequence[Labels], lap: Lap = nothing
    ) -> list[list[Tensor]]:
        """The fields of `Numbers` for the regions (h, w) of each of some standardised frames (h, w) of one size."""
        uploaded = [torch.from_numpy(each).to(self.device, non_blocking=True) for each in labels]
        return numbers_of(torch.stack(list(images)), torch.stack(uploaded), asked, lap)

    def wait(self) -> None:
        """Until all that was asked for is done, in the stream that is current."""
        if self.device != "cpu":
            torch.cuda.current_stream().synchronize()

    def recover(self) -> None:
        """After a failure: let what is under way end, and give unused memory back."""
        self.wait()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def see(self, image: npt.NDArray[Any], pixel_size_nm: float) -> Sight:
        """One frame (H, W), in full."""
        seen = self.run([np.ascontiguousarray(image)], pixel_size_nm)
        self._last = seen.images[0]
        prepared = Canonical(_array(seen.images[0]), seen.scale, (image.shape[0], image.shape[1]))
        figures = [_array(each[0]) for each in seen.figures]
        first, second = (_array(each[0]) for each in seen.powers)
        return sight_of(prepared, _array(seen.maps[0]), figures, (first, second))

    def numbers(self, crops: Crops) -> Numbers:
        """Of the regions of the frame that was seen last."""
        assert self._last is not None, "a frame is seen before its regions are measured"
        (found,) = self.measure([self._last], [crops], [crops.labels])
        return Numbers(*(_array(each) for each in found))

    def _for(self, shape: Sequence[int], pixel_size_nm: float) -> tuple[Preparer, CountFigures]:
        key = (shape[0], shape[1]), pixel_size_nm
        with self._lock:
            if key not in self._sizes:
                if len(self._sizes) >= KNOWN_SIZES:
                    self._sizes.pop(next(iter(self._sizes)))
                preparer = Preparer(key[0], pixel_size_nm, self._preprocessing, self.device)
                self._sizes[key] = preparer, CountFigures(key[0], self.device)
            return self._sizes[key]


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy())
