"""Imaging conditions of a batch: a row of numbers for each frame, from `sim.optics.conditions.Conditions`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sim.optics.conditions import Conditions
from sim.optics.transfer import wavelength_nm

#: Fields of `Conditions` that stand in a row, in this order; then those of its `Camera`.
OPTICS = (
    "energy_kev", "defocus_nm", "cs_um", "astigmatism_nm", "astigmatism_deg", "coma_nm", "coma_deg", "trefoil_nm",
    "trefoil_deg", "focal_spread_nm", "angular_spread_mrad", "aperture_per_nm", "absorption_per_nm", "stobbs",
    "vibration_nm", "drift_nm", "drift_deg", "dose_e_per_A2", "illumination", "smoothing_nm",
)  # fmt: skip
CAMERA = (
    "mtf_nyquist", "dqe", "gain_counts_per_e", "gain_spread", "dark_counts", "dark_spread", "read_noise_e",
    "hot_pixels", "dead_pixels", "xrays_per_megapixel", "saturation_counts",
)  # fmt: skip


def rows(conditions: Sequence[Conditions]) -> npt.NDArray[np.float32]:
    """(B, columns) of the conditions of B frames."""
    return np.array(
        [
            [getattr(c, name) for name in OPTICS] + [getattr(c.camera, name) for name in CAMERA]
            for c in conditions
        ],
        np.float32,
    )


class Parameters:
    """The conditions of B frames on one device; each is a tensor (B, 1, 1)."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    @classmethod
    def of(cls, conditions: Sequence[Conditions], device: str = "cpu") -> Parameters:
        """From plain conditions."""
        return cls(torch.from_numpy(rows(conditions)).to(device))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, name: str) -> Tensor:
        """(B, 1, 1) of a field; `wavelength_nm` follows from the energy."""
        if name == "wavelength_nm":
            energies = [wavelength_nm(float(e)) for e in self.table[:, 0].tolist()]
            return torch.tensor(energies, device=self.table.device)[:, None, None]
        return self.table[:, (*OPTICS, *CAMERA).index(name)][:, None, None]

    def with_energy(self, energies_kev: Tensor) -> Parameters:
        """The same conditions for beams of other energies (B,) [keV]."""
        table = self.table.clone()
        table[:, 0] = energies_kev
        return Parameters(table)
