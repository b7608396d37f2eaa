"""Exit waves by abTEM's multislice algorithm (Madsen and Susi 2021; Kirkland, *Advanced Computing*, ch. 6)."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from ase import Atoms

from sim.specimen import Specimen

SLICE_NM = 0.2
"""Slice thickness: about one atomic layer [nm]."""


def exit_wave(
    specimen: Specimen, gpts: int, energy_kev: float = 300.0, device: str = "cpu"
) -> npt.NDArray[np.complex64]:
    """The wave below the specimen, (gpts, gpts), for a plane wave of intensity 1.

    Independent atoms with Kirkland's parametrisation and projected ("infinite") slices, in float32.

    Parameters
    ----------
    energy_kev : of the beam [keV].
    device : "cpu", or "gpu" where CuPy is.
    """
    import abtem

    positions, numbers = specimen.atoms()
    atoms = Atoms(
        numbers,
        positions * 10,
        cell=[specimen.side_nm * 10, specimen.side_nm * 10, specimen.height_nm * 10],
        pbc=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # abTEM's dependencies announce their own deprecations
        potential = abtem.Potential(
            atoms,
            gpts=gpts,
            slice_thickness=SLICE_NM * 10,
            parametrization="kirkland",
            projection="infinite",
            device=device,
        )
        waves = (
            abtem.PlaneWave(energy=energy_kev * 1e3, device=device)
            .multislice(potential)
            .compute(progress_bar=False)
        )
    array = waves.array
    if hasattr(array, "get"):
        array = array.get()
    return np.asarray(array, dtype=np.complex64)
