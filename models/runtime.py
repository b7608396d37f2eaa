"""What runs the models on the CPU: sessions of ONNX Runtime, and the threads of OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from models.errors import BundleRefused


def open_session(path: Path, threads: int) -> Any:
    """An ONNX Runtime session of a model file.

    Parameters
    ----------
    threads : within one operation.

    Raises
    ------
    BundleRefused
        The file holds no model that ONNX Runtime can run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena keeps the largest frame's memory for the next one: quicker, and the footprint stays at its height.
    options.enable_cpu_mem_arena = True
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no common root but this
        raise BundleRefused(f"{path} can't be loaded: {' '.join(str(error).split())[:160]}") from error


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """OpenCV on one thread for as long as the block runs: on small pictures more threads are slower."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
