"""Reading frames: files of every format of a microscope room, opened by `open_frames`.

| format | suffixes | module in `monitor/read/formats/` |
|---|---|---|
| DigitalMicrograph 3 and 4 | .dm3 .dm4 | `dm` |
| TIA | .ser .emi | `tia` |
| MRC, with FEI's and SerialEM's additions | .mrc .mrcs .st .map | `mrc`, `mrc_extended`, notes: `mdoc` |
| MRC in gzip | .mrc.gz .mrcs.gz .st.gz .map.gz | `gz` |
| TIFF, BigTIFF, OME-TIFF, ImageJ | .tif .tiff .tf8 .btf (.eer is refused) | `tiff`, pixel sizes: `tiff_scale` |
| HDF5: Velox EMD | .emd | `hdf5/velox` |
| HDF5: Berkeley EMD | .emd | `hdf5/berkeley` |
| HDF5: HyperSpy | .hspy .hdf5 | `hdf5/hyperspy` |
| HDF5: NeXus, NXem | .nxs .h5 | `hdf5/nexus` |
| HDF5: any other with an array | .h5 .hdf5 .hdf | `hdf5/plain` |
| NumPy | .npy .npz | `npy`, `npz` |
| TVIPS films | .tvips | `tvips` |
| PNG, JPEG | .png .jpg .jpeg | `raster` |

What the formats share stands beside that folder: `names` (which file has which format), `files` (an open file and
its frames), `signals` (an image or a stack, not loaded yet), `copies` (thumbnails and exported pictures), `movies` with
`alignment` (exposures of one field), `about` and `document` (what is read, in words), `scale`, `times`, `values`,
`jsonable`, `pixels`, and `apart` with `serve` (reading in another process). A format's module is imported when a file
of that format is opened.
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
