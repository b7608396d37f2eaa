"""Send frames from a camera loop to a session, and know that each of them is on disk.

Start a session first:   faultwatch watch ack://127.0.0.1:5555
Then run                 python examples/send_frames.py ack://127.0.0.1:5555 --frames 20

`monitor/client.py` needs pyzmq and NumPy alone: copy it into the Python of the microscope.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from monitor.client import FrameSender


def camera(frames: int) -> Iterator[npt.NDArray[np.uint16]]:
    """Stands for the camera: (512, 512) frames of a lattice under shot noise. Put your own loop here."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:512, :512]
    for number in range(frames):
        particle = np.hypot(rows - 256, columns - 200 - 4 * number) < 70
        lattice = 100 * (1 + 0.2 * particle * np.cos(rows * 0.9) * np.cos(columns * 0.9))
        yield rng.poisson(lattice).astype(np.uint16)


def main() -> None:
    """Send the frames and say which of them were never acknowledged."""
    parser = argparse.ArgumentParser(description="Send frames from a camera loop.")
    parser.add_argument("address", help="of the session, such as ack://127.0.0.1:5555")
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    with FrameSender(options.address, source="example camera") as sender:
        for frame in camera(options.frames):
            sender.send(frame, pixel_size_nm=0.05, exposure_s=0.16)
        missing = sender.close(timeout_s=60)
    print(f"not acknowledged: {missing}" if missing else f"all {options.frames} frames are on disk")


if __name__ == "__main__":
    main()
