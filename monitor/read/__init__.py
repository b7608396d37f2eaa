"""Reading frames: every file format of the microscope room behind one door.

Nothing heavy is imported here; what a format needs is imported when a file of that format is opened.
"""

from monitor.read.files import FrameFile, is_complete, open_frames, why_incomplete
from monitor.read.names import is_sidecar, looks_like_frame_file
from monitor.read.scale import PIXEL_SIZE_RANGE_NM, check_pixel_size, resolve_pixel_size

__all__ = [
    "PIXEL_SIZE_RANGE_NM",
    "FrameFile",
    "check_pixel_size",
    "is_complete",
    "is_sidecar",
    "looks_like_frame_file",
    "open_frames",
    "resolve_pixel_size",
    "why_incomplete",
]
