"""Exit waves by abTEM's multislice algorithm (Madsen and Susi 2021; Kirkland, *Advanced Computing*, ch. 6)."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sim.specimen.draw import Specimen

SLICE_NM = 0.2
"""Slice thickness: about one atomic layer [nm]."""
PHONON_NM = 0.008
"""Root mean square displacement along each axis of a frozen phonon [nm]; CdSe and gold at room temperature have about
this much."""


_BETWEEN = b"\0"


def plans_path() -> Path:
    """Where the machine's FFT plans are kept: in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(root) / "faultwatch" / "fft-plans"


@functools.cache
def _begin() -> None:
    """Have FFTs done in this process as they were done before on this machine.

    FFTW tries several ways and takes what is quickest at that moment. They differ in the last digit, and so would waves
    made twice from one seed; so what it once chose is kept. Where nothing can be kept, each process chooses anew.
    """
    import abtem
    import pyfftw

    abtem.config.set({"fft": "fftw", "fftw.threads": 1})
    with contextlib.suppress(OSError, ValueError):
        pyfftw.import_wisdom(tuple(plans_path().read_bytes().split(_BETWEEN)))


def _keep_plans() -> None:
    """Keep what FFTW has learnt, if that is more than it knew."""
    import pyfftw

    learnt, path = _BETWEEN.join(pyfftw.export_wisdom()), plans_path()
    with contextlib.suppress(OSError):
        if path.exists() and len(path.read_bytes()) >= len(learnt):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(learnt)
        partial.replace(path)


def exit_wave(
    specimen: Specimen,
    gpts: int,
    energy_kev: float = 300.0,
    device: str = "cpu",
    *,
    phonons: int = 0,
    seed: int = 0,
) -> npt.NDArray[np.complex64]:
    """The wave below the specimen, (gpts, gpts), for a plane wave of intensity 1.

    Independent atoms with Kirkland's parametrisation and projected ("infinite") slices, in float32.

    Parameters
    ----------
    energy_kev : of the beam [keV].
    device : "cpu", or "gpu" where CuPy is.
    phonons : so many frozen phonons (Loane, Xu and Silcox 1991), every atom displaced by `PHONON_NM` anew in each;
        the result is then (phonons, gpts, gpts), one wave for each, whose intensities add up. 0: the atoms as they are.
    seed : of the phonons.
    """
    import abtem

    _begin()
    atoms = specimen.ase_atoms()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # abTEM's dependencies announce their own deprecations
        potential = abtem.Potential(
            abtem.FrozenPhonons(atoms, phonons, PHONON_NM * 10, seed=seed) if phonons else atoms,
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
    _keep_plans()
    array = waves.array
    if hasattr(array, "get"):  # CuPy's
        array = array.get()
    return np.asarray(array, dtype=np.complex64)
