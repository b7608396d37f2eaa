"""A file of frames: opened by its content, its images found, each loaded when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.frames import Frame, MovieMode
from monitor.read.copies import without_copies
from monitor.read.jsonable import jsonable
from monitor.read.names import Format, by_content, by_name, read_head
from monitor.read.pixels import to_picture
from monitor.read.signals import Signal, refuse

#: Loggers of libraries that write warnings about damaged files.
_CHATTY = ("tifffile", "PIL", "h5py", "mrcfile")


class _Reader(Protocol):
    """A format's module."""

    def open_signals(self, path: Path, stack: contextlib.ExitStack) -> list[Signal]:
        """The signals of a file; the handles that stay open are closed by `stack`."""


class FrameFile:
    """An open file and the frames in it; a context manager.

    `open_frames` makes it. A file with several images (for example detectors of one scan) has the frames of
    all of them, one after the other. Plots, spectra and diffraction patterns are left out.
    """

    def __init__(self, path: Path, signals: list[Signal], stack: contextlib.ExitStack) -> None:
        self.path = path
        self.signals = tuple(signals)
        """The images in it, each a picture or a stack."""
        self._stack = stack
        self.count = sum(signal.count for signal in signals)
        """How many frames there are, at least 1."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file's handles. Frames that were loaded stay whole."""
        self._stack.close()

    def frame(self, index: int) -> Frame:
        """The frame with this index, from 0.

        Raises
        ------
        UnreadableFrame
            There is no such frame, or it is damaged, coloured or blank, or its pixels are no numbers.
        """
        signal, within = self._find(index)
        with _guarded(self.path, index):
            pixels, notes = to_picture(signal.load(within))
            details = signal.details(within)
            size_nm, problem, doubted = signal.pixel_size()
            return Frame(
                pixels=pixels,
                pixel_size_nm=size_nm,
                scale_problem=problem,
                scale_doubt=doubted,
                scale_from=signal.columns.origin or signal.rows.origin,
                acquired=details.acquired,
                metadata=cast(dict[str, object], jsonable(details.metadata)),
                scanning=details.scanning,
                title=signal.title or None,
                exposure_s=details.exposure_s,
                dose_e_per_A2=details.dose_e_per_A2,
                magnification=details.magnification,
                notes=(*signal.notes, *signal.found(), *notes),
                exposures=signal.exposures,
            )

    def check(self, index: int) -> None:
        """Check that the frame's bytes are in the file and can be decoded.

        Raises
        ------
        UnreadableFrame
            There is no such frame, or it is damaged. What the picture shows is not checked.
        """
        signal, within = self._find(index)
        with _guarded(self.path, index):
            signal.verify(within)

    def _find(self, index: int) -> tuple[Signal, int]:
        within = index
        for signal in self.signals:
            if 0 <= within < signal.count:
                return signal, within
            within -= signal.count
        raise UnreadableFrame(
            f"there is no frame {index} in it, it has {self.count}", path=self.path, index=index
        )


def open_frames(path: Path, movie: MovieMode = "frames") -> FrameFile:
    """Open a file of frames of any format; to be used in a `with`.

    Parameters
    ----------
    movie : what becomes of a stack that is a movie of one field (`monitor.read.movies`): its exposures are aligned and
        summed to one frame, or each is a frame, or the first alone is one. Any other stack is its frames.

    Raises
    ------
    IncompleteFile
        The file ends before what its header announces.
    UnreadableFrame
        There is no such file, or its format is not known, or it is damaged, or nothing in it is an image. The
        reason is a sentence.
    """
    path = Path(path)
    stack = contextlib.ExitStack()
    try:
        with _guarded(path, None):
            name = f"monitor.read.formats.{_format(path).module}"
            reader = cast(_Reader, importlib.import_module(name))
            signals = reader.open_signals(path, stack)
            refusals = [refuse(signal) for signal in signals]
            images = [s for s, refusal in zip(signals, refusals, strict=True) if refusal is None]
            if not images:
                raise UnreadableFrame(_together(refusals))
            images = without_copies(images)
            if movie != "frames" and any(image.count > 1 for image in images):
                from monitor.read.movies import as_shown  # with OpenCV, which few files need to be opened

                images = as_shown(images, movie, path)
    except BaseException:
        stack.close()
        raise
    return FrameFile(path, images, stack)


def why_incomplete(path: Path) -> str | None:
    """Why a file is not whole yet, as a sentence; None where all that its header announces is there.

    Headers and the last frame are read. A whole file that is damaged or holds no image gives None: opening it
    tells the reason.
    """
    try:
        with open_frames(path) as file:
            file.check(file.count - 1)
    except IncompleteFile as error:
        return error.reason
    except UnreadableFrame:
        return None
    return None


def is_complete(path: Path) -> bool:
    """Whether all that a file's header announces is there, and its last frame can be decoded."""
    return why_incomplete(path) is None


def _format(path: Path) -> Format:
    """The format of a file: by its content, else by its name.

    Raises
    ------
    IncompleteFile
        The file is empty, or begins with zeros: it is not written yet.
    UnreadableFrame
        The path is a folder, or the file is in no format that is known.
    OSError
        The file cannot be read.
    """
    size = path.stat().st_size
    if path.is_dir():
        raise UnreadableFrame("it is a folder, not a file")
    if size == 0:
        raise IncompleteFile("the file is empty (0 bytes)")
    head = read_head(path)
    if (told := by_content(head)) is not None:
        return told
    named = by_name(path)
    if named is None:
        raise UnreadableFrame(
            "it is in no format that is read here (dm3, dm4, emd, ser, mrc, tif, hdf5, npy ...)"
        )
    if not any(head):
        raise IncompleteFile("the file begins with zeros: its place was reserved, nothing was written yet")
    if named.always:
        if size < 16:
            raise IncompleteFile(f"the file is incomplete: it has {size} bytes")
        raise UnreadableFrame(f"it is named {path.suffix} but does not begin as such a file does")
    return named


def _together(refusals: list[str | None]) -> str:
    """One sentence for the refusals of all signals of a file."""
    different = list(dict.fromkeys(refusal for refusal in refusals if refusal))
    if not different:
        return "there is no image in it"
    if len(different) == 1:
        return different[0]
    return f"none of the {len(refusals)} signals in it is an image to analyse; the first: {different[0]}"


@contextlib.contextmanager
def _guarded(path: Path, index: int | None) -> Iterator[None]:
    """Turn every exception of a library into `UnreadableFrame`, and silence its warnings meanwhile."""
    for name in _CHATTY:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnreadableFrame as error:
        error.path, error.index = path, index
        raise
    except FileNotFoundError as error:
        raise UnreadableFrame("there is no such file", path=path, index=index) from error
    except (PermissionError, BlockingIOError) as error:
        reason = "the file can't be opened (no permission, or another program has locked it)"
        raise IncompleteFile(reason, path=path, index=index) from error
    except MemoryError as error:
        reason = "there is not enough memory for what it announces"
        raise UnreadableFrame(reason, path=path, index=index) from error
    except Exception as error:
        # Any exception of any library may mean a damaged file; only here do they become reasons.
        said = " ".join(str(error).split())[:160] or type(error).__name__
        reason = f"the file is damaged, or of a variant that is not known here ({said})"
        raise UnreadableFrame(reason, path=path, index=index) from error
