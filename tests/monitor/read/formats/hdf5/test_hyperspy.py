"""HyperSpy files that hold no images."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def test_hyperspy_spectra_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        group = file.create_group("Experiments/eels")
        group["data"] = np.ones((30, 30, 30), np.float32)
        for i in range(3):
            group.create_group(f"axis-{i}").attrs.update({"navigate": i < 2, "scale": 1.0, "units": ""})
    with pytest.raises(UnreadableFrame, match="spectr"):
        open_frames(tmp_path / "a.hspy")
