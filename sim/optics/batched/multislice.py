"""Exit waves in torch: abTEM's multislice (Kirkland's potentials, "infinite" projection) for independent atoms."""

from __future__ import annotations

import json
from functools import cache
from math import ceil, pi
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sim.optics.multislice import SLICE_NM
from sim.optics.transfer import wavelength_nm

#: 2π a₀ e: from a scattering factor [Å] to the transform of the projected potential [V Å²] (Kirkland, app. C).
VOLT_A2 = 47.87801

#: Kirkland's coefficients of every element, rows a [Å⁻¹], b [Å⁻²], c [Å], d [Å²], as abTEM has them.
TABLE = Path(__file__).with_name("kirkland.json")


@cache
def _coefficients() -> dict[int, npt.NDArray[np.float64]]:
    return {int(z): np.array(rows) for z, rows in json.loads(TABLE.read_text()).items()}


def projected_factor(number: int, k2: Tensor) -> Tensor:
    """Transform of the projected potential of one atom [V Å²] at squared frequencies k² [Å⁻²].

    f = Σ a/(k² + b) + Σ c exp(-d k²) (Kirkland, *Advanced Computing in Electron Microscopy*, app. C).
    """
    a, b, c, d = _coefficients()[number]
    total = torch.zeros_like(k2)
    for i in range(3):
        total += float(a[i]) / (k2 + float(b[i])) + float(c[i]) * torch.exp(-float(d[i]) * k2)
    return VOLT_A2 * total


def interaction(energy_kev: float) -> float:
    """2π m e λ / h² [1/(V Å)], m the relativistic mass (Kirkland, ch. 5)."""
    mass, charge, planck, light = 9.1093837015e-31, 1.602176634e-19, 6.62607015e-34, 299792458.0
    relativistic = mass * (1 + energy_kev * 1e3 * charge / (mass * light**2))
    return 2 * pi * relativistic * charge * wavelength_nm(energy_kev) * 1e-9 / planck**2 * 1e-10


class Multislice:
    """Exit waves of specimens on grids of `gpts` × `gpts`, on one device."""

    def __init__(self, gpts: int, device: str = "cpu") -> None:
        self.gpts, self.device = gpts, device
        self._grids: dict[float, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        self._factors: dict[tuple[float, int], Tensor] = {}

    def __call__(
        self,
        positions: npt.NDArray[np.float32],
        numbers: npt.NDArray[np.integer],
        side_nm: float,
        height_nm: float,
        energy_kev: float,
    ) -> Tensor:
        """The wave (gpts, gpts) below the specimen, for a plane wave of intensity 1.

        Parameters
        ----------
        positions : (N, 3) of the atoms [nm], in the box.
        numbers : (N,) atomic numbers.
        """
        n, device = self.gpts, self.device
        pixel_A = side_nm * 10 / n
        _, _, aperture, k2 = self._grid(pixel_A)
        slices = max(1, ceil(height_nm / SLICE_NM))
        thick_A = height_nm * 10 / slices
        phase = self._potential(positions, numbers, pixel_A, slices, thick_A) * interaction(energy_kev)
        transmission = torch.polar(torch.ones_like(phase), phase)
        transmission = torch.fft.ifft2(torch.fft.fft2(transmission) * aperture)
        propagator = torch.polar(aperture, -pi * wavelength_nm(energy_kev) * 10 * thick_A * k2)
        wave = torch.ones(n, n, dtype=torch.complex64, device=device)
        for i in range(slices):
            wave = torch.fft.ifft2(torch.fft.fft2(wave * transmission[i]) * propagator)
        return wave

    def _potential(
        self,
        positions: npt.NDArray[np.float32],
        numbers: npt.NDArray[np.integer],
        pixel_A: float,
        slices: int,
        thick_A: float,
    ) -> Tensor:
        """Projected potential of every slice (slices, gpts, gpts) [V Å]; atoms lie between pixels, bilinearly."""
        n, device = self.gpts, self.device
        places = torch.as_tensor(np.asarray(positions, np.float32), device=device)
        elements = torch.as_tensor(np.asarray(numbers, np.int64), device=device)
        layer = (places[:, 2] * 10 / thick_A).floor().long().clamp(0, slices - 1)
        on_grid = places[:, :2] * 10 / pixel_A
        corner = on_grid.floor()
        rest, corner = on_grid - corner, corner.long()
        spectrum = torch.zeros(slices, n, n // 2 + 1, dtype=torch.complex64, device=device)
        for element in torch.unique(elements).tolist():
            of = elements == element
            x, y = rest[of, 0], rest[of, 1]
            density = torch.zeros(slices * n * n, device=device)
            for i, j, weight in (
                (0, 0, (1 - x) * (1 - y)),
                (1, 0, x * (1 - y)),
                (0, 1, (1 - x) * y),
                (1, 1, x * y),
            ):
                index = (layer[of] * n + (corner[of, 0] + i) % n) * n + (corner[of, 1] + j) % n
                density.index_add_(0, index, weight)
            spectrum += torch.fft.rfft2(density.view(slices, n, n)) * self._factor(pixel_A, element)
        potential: Tensor = torch.fft.irfft2(spectrum, s=(n, n))
        return potential

    def _factor(self, pixel_A: float, element: int) -> Tensor:
        """Transform of the potential of one atom on this grid, without what the bilinear weights damp."""
        key = (round(pixel_A, 6), element)
        if key not in self._factors:
            k2, sinc, _, _ = self._grid(pixel_A)
            self._factors[key] = (projected_factor(element, k2) / sinc).contiguous()
        return self._factors[key]

    def _grid(self, pixel_A: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """k² [Å⁻²] and abTEM's sinc on the half plane; the antialiasing aperture and k² on the whole plane."""
        key = round(pixel_A, 6)
        if key not in self._grids:
            k = torch.fft.fftfreq(self.gpts, pixel_A, device=self.device)
            half = torch.fft.rfftfreq(self.gpts, pixel_A, device=self.device)
            k2_half = k[:, None] ** 2 + half[None] ** 2
            q = torch.sqrt(k2_half) * pixel_A
            sinc = torch.where(q == 0, torch.ones_like(q), torch.sin(q) / (q + (q == 0))) * pixel_A**2
            radius = torch.sqrt(k[:, None] ** 2 + k[None] ** 2)
            cutoff, taper = 0.6666666 / pixel_A / 2, 0.01 / pixel_A
            edge = 0.5 * (1 + torch.cos(pi * (radius - cutoff + taper) / taper))
            aperture = torch.where(radius > cutoff - taper, edge, torch.ones_like(edge))
            aperture[radius > cutoff] = 0
            self._grids[key] = (k2_half, sinc, aperture, radius**2)
        return self._grids[key]


def mass_thickness(
    positions: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.integer],
    side_nm: float,
    gpts: int,
    device: str = "cpu",
) -> Tensor:
    """Thickness (gpts, gpts) in nm of gold, as `sim.specimen.thickness.mass_thickness`."""
    from sim.specimen.thickness import GOLD_ATOMS_PER_NM3, SMOOTH_NM

    pixel = side_nm / gpts
    places = torch.as_tensor(np.asarray(positions, np.float32), device=device)
    weight = (torch.as_tensor(np.asarray(numbers, np.float32), device=device) / 79) ** 1.5
    index = (places[:, :2] / pixel).floor().long() % gpts
    total = torch.zeros(gpts * gpts, device=device)
    total.index_add_(0, index[:, 0] * gpts + index[:, 1], weight / (GOLD_ATOMS_PER_NM3 * pixel**2))
    k = torch.fft.fftfreq(gpts, pixel, device=device)
    half = torch.fft.rfftfreq(gpts, pixel, device=device)
    smooth = torch.exp(-2 * pi**2 * SMOOTH_NM**2 * (k[:, None] ** 2 + half[None] ** 2))
    smoothed: Tensor = torch.fft.irfft2(torch.fft.rfft2(total.view(gpts, gpts)) * smooth, s=(gpts, gpts))
    return smoothed
