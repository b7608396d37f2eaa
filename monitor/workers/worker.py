"""What a worker process does: read ▸ preprocess ▸ segment ▸ measure ▸ classify ▸ preview, a frame at a time.

Nothing heavy is imported at the head: what the threads of numerical libraries may take is set before they
load.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.frames import FrameRef, MovieMode
from monitor.outcomes import FinishedFrame, Outcome, RejectedFrame

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.bundle import Bundle

#: Longest side of a preview [px].
PREVIEW_SIDE = 512


@dataclass(frozen=True)
class Contact:
    """How a worker reaches the process that owns the device."""

    address: str
    key: bytes


@dataclass(frozen=True)
class Start:
    """How a worker is to begin."""

    bundle: Path | None
    """None: the one that is shipped."""
    device: str
    threads: int
    """For the network and for image operations."""
    material: str | None = None
    """Checked once, before any frame is rejected for it."""
    gpu: Contact | None = None
    """Where the process that owns the device is, if there is one."""


@dataclass(frozen=True)
class Ready:
    """A worker that has begun."""

    pid: int
    bundle: str
    path: Path
    details: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One frame to be analysed."""

    frame_id: int
    revision: int
    ref: FrameRef
    pixel_size_nm: float | None
    """For a frame that does not say its own."""
    force_pixel_size_nm: float | None
    material: str | None
    movie: MovieMode = "frames"
    """What becomes of a movie of one field."""
    bundle: Path | None = None
    """Who judges, where that is not the bundle that the workers began with."""


_threads = 1
_bundle: Bundle | None = None


def follow_session() -> None:
    """Bind a worker process to the session that began it; to be called before anything else, even `start`."""
    # Ctrl-C reaches every process of the terminal; the session decides what is still finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def start(how: Start) -> Ready:
    """Load the bundle and keep it warm; to be called once in each worker, before any `run`.

    Raises
    ------
    Exception
        Any error of the bundle or the device.
    """
    global _bundle
    _bundle = load(how)
    return ready(_bundle)


def load(how: Start, begin_device: Callable[[], None] = lambda: None) -> Bundle:
    """Load a bundle for this process.

    Parameters
    ----------
    begin_device
        As `begin` of `monitor.workers.gpu.client.RemoteDevice`.

    Raises
    ------
    Exception
        Any error of the bundle or the device.
    """
    global _threads
    _threads = how.threads
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(how.threads)
    import cv2

    from models.analysis import layer_frequencies
    from models.bundle import load_bundle

    layer_frequencies(how.material)
    cv2.setNumThreads(how.threads)
    if how.gpu is None:
        return load_bundle(how.bundle, how.device, how.threads)
    from monitor.workers.gpu.client import RemoteDevice

    bundle = load_bundle(how.bundle, "cpu", how.threads)
    device = RemoteDevice(how.gpu, bundle.preprocessing.pixel_size_nm, begin_device)
    return replace(bundle, device=device if device.there else None)


def ready(bundle: Bundle) -> Ready:
    """What this process is, with its bundle."""
    return Ready(os.getpid(), bundle.id, Path(bundle.path), dict(bundle.details))


def loaded() -> Bundle:
    """The bundle that frames are judged with."""
    assert _bundle is not None, "start comes first"
    return _bundle


def use(bundle: Bundle) -> None:
    """Judge with this bundle from now on: the one that is loaded, say, with its network timed."""
    global _bundle
    _bundle = bundle


def run(task: Task) -> Outcome:
    """Analyse one frame with the bundle that `start` loaded. Never raises for what is wrong with a frame."""
    assert _bundle is not None, "start comes first"
    return run_with(_bundle, task)


def run_with(bundle: Bundle, task: Task) -> Outcome:
    """Analyse one frame with a bundle. Never raises for what is wrong with a frame."""
    from models.errors import CannotAnalyse
    from monitor.errors import InputError

    try:
        return _analysed(bundle, task)
    except (CannotAnalyse, InputError) as error:
        return RejectedFrame(str(error), gone=not os.path.exists(task.ref.path))
    except MemoryError:
        return RejectedFrame("there was not enough memory to analyse it")
    except Exception as error:
        # One frame must never end the session, whatever is wrong with it or with this program.
        reason = f"the analysis failed ({type(error).__name__}: {error})"
        return RejectedFrame(reason, traceback=traceback.format_exc())


def _analysed(bundle: Bundle, task: Task) -> FinishedFrame:
    from models import analysis as judging
    from models.quality.frame import USUAL_ENERGY_KEV
    from monitor.errors import UnreadableFrame
    from monitor.frames import pixels_hash
    from monitor.read import open_frames, resolve_pixel_size
    from monitor.read.about import kilovolts
    from monitor.tracking.signature import signature, to_png

    bundle = _judging(bundle, task.bundle)
    began = judging.clock()
    with open_frames(task.ref.path, task.movie) as file:
        if task.ref.index is None and file.count > 1:
            raise UnreadableFrame(f"it was no frame when it was taken in, and has {file.count} now")
        frame = file.frame(task.ref.index or 0)
    pixel_size = resolve_pixel_size(
        frame, task.pixel_size_nm, task.force_pixel_size_nm, task.ref.pixel_size_nm
    )
    read_ms = (judging.clock() - began) * 1000
    energy = kilovolts(frame.metadata) or USUAL_ENERGY_KEV
    analysis = judging.analyse(
        frame.pixels, pixel_size, bundle, task.material, energy_kev=energy, labelled=False
    )
    quality = {**analysis.quality, "scanning": frame.scanning}
    if frame.exposures > 1:
        quality["exposures"] = frame.exposures
    if frame.notes:
        quality["notes"] = "; ".join(frame.notes)
    # The label image stays here: nothing big crosses to the session.
    slim = replace(
        analysis, labels=None, quality=quality, timings_ms={"read": read_ms, **analysis.timings_ms}
    )
    return FinishedFrame(
        slim,
        time.time(),
        preview=preview(frame.pixels),
        pixels=pixels_hash(frame.pixels),
        signature=to_png(signature(frame.pixels, pixel_size)),
        acquired=frame.acquired,
        # A stack's metadata is the same for all its frames; it is kept with the first.
        metadata={} if task.ref.index else frame.metadata,
    )


_promoted: dict[tuple[Path, Path], Bundle] = {}


def _judging(bundle: Bundle, path: Path | None) -> Bundle:
    """A bundle with the forest of the one at `path`, loaded once; without, where that is gone."""
    from models.bundle import load_bundle
    from models.errors import BundleRefused

    if path is None or path == bundle.path:
        return bundle
    key = (Path(bundle.path), path)
    try:
        if key not in _promoted:
            _promoted.clear()
            other = load_bundle(path, "cpu", _threads)
            # Their networks are the same, and this one may be on a device.
            _promoted[key] = replace(
                other, network=bundle.network, backend=bundle.backend, device=bundle.device
            )
    except (BundleRefused, OSError):
        return bundle  # the session judges its result again, where it can
    return _promoted[key]


def preview(pixels: npt.NDArray[Any]) -> bytes | None:
    """A small grey JPEG of a frame (H, W), from its 0.5 to its 99.5 percentile; None where there is none."""
    import cv2
    import numpy as np

    from monitor.reduced import reduced

    height, width = pixels.shape
    sample = pixels[:: max(1, height // 256), :: max(1, width // 256)].flatten()
    places = [round(share * (sample.size - 1)) for share in (0.005, 0.995)]
    sample.partition(places)
    low, high = (float(sample[place]) for place in places)
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(reduced(pixels, *size), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= low
    small *= 255.0 / ((high - low) or 1.0)
    grey = np.clip(small, 0, 255, out=small).astype(np.uint8)
    done, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return encoded.tobytes() if done else None


def _end_with_parent() -> None:
    """A worker whose session was killed would wait for work for ever."""
    session = parent_process()
    assert session is not None
    session.join()
    os._exit(1)
