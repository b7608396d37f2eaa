"""Electron scattering and image formation computed without abTEM, to check the simulation against.

Kirkland's scattering factors, Bloch waves, the zeros of the contrast transfer, and how zeros and spacings are measured
in an image. Lengths in nm, spatial frequencies in nm⁻¹. References: Kirkland, *Advanced Computing in Electron
Microscopy*, app. C (K); Hirsch, Howie, Nicholson, Pashley and Whelan, *Electron Microscopy of Thin Crystals* (H).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.signal import find_peaks
from scipy.special import k0

from sim.optics.conditions import Conditions
from sim.optics.transfer import Image, Wave, frequencies, wavelength_nm
from sim.specimen.draw import Specimen

Floats = npt.NDArray[np.float64]

BOHR_NM = 0.0529177
E2_V_NM = 1.439964
"""e / 4πε₀ [V nm]."""
REST_KEV = 510.99895

#: Kirkland's table, rows a [Å⁻¹], b [Å⁻²], c [Å], d [Å²] of f(k) = Σ a/(k² + b) + Σ c exp(-d k²) [Å], by atomic number.
KIRKLAND: dict[int, tuple[tuple[float, float, float], ...]] = {
    6: (
        (0.212080767, 0.199811865, 0.168254385),
        (0.208605417, 0.208610186, 5.57870773),
        (0.142048360, 0.363830672, 8.35012044e-4),
        (1.33311887, 3.80800263, 0.0403982620),
    ),
    14: (
        (1.06543892, 0.120143691, 0.180915263),
        (1.04118455, 68.7113368, 0.0887533926),
        (1.12065620, 0.0305452816, 1.59963502),
        (3.70062619, 0.214097897, 9.99096638),
    ),
    34: (
        (0.958390681, 0.603851342, 1.90828931),
        (0.183775557, 196.819224, 2.15082053),
        (0.173885956, 0.935265145, 8.62254658e-3),
        (0.300006024, 4.92471215, 0.0212308108),
    ),
    48: (
        (1.63657549, 2.17927989, 0.771300690),
        (12.4540381, 1.45134660, 0.126695757),
        (0.664193880, 0.764563285, 0.0861126689),
        (0.777659202, 1.66075210, 0.105728357),
    ),
    79: (
        (0.961263398, 3.69581030, 2.77567491),
        (0.170932277, 12.9335319, 0.689997070),
        (0.295414176, 0.311475743, 0.0143237267),
        (0.163525510, 1.39200901, 0.0271265337),
    ),
}


def scattering_factor(atomic_number: int, k_per_nm: npt.ArrayLike) -> Floats:
    """Electron scattering factor [nm] in the first Born approximation, rest mass, at k = 2 sin θ / λ (K, app. C)."""
    a, b, c, d = (np.array(row) for row in KIRKLAND[atomic_number])
    squared = np.asarray(k_per_nm, dtype=float)[..., None] ** 2 / 100
    total = (a / (squared + b) + c * np.exp(-d * squared)).sum(axis=-1)
    return np.asarray(total / 10)


def projected_potential(atomic_number: int, r_nm: npt.ArrayLike) -> Floats:
    """Potential of one atom, projected along the beam [V nm], at distance r > 0 from its nucleus (K, app. C).

    4π² a₀e Σ a K₀(2πr√b) + 2π² a₀e Σ (c/d) exp(-π²r²/d), with e short for e / 4πε₀.
    """
    a, b, c, d = (np.array(row) for row in KIRKLAND[atomic_number])
    r = 10 * np.asarray(r_nm, dtype=float)[..., None]
    lorentzians = 4 * pi**2 * a * k0(2 * pi * r * np.sqrt(b))
    gaussians = 2 * pi**2 * c / d * np.exp(-(pi**2) * r**2 / d)
    # Both sums in Å; a₀e in V nm².
    return np.asarray(10 * BOHR_NM * E2_V_NM * (lorentzians + gaussians).sum(axis=-1))


def projected_integral(atomic_number: int) -> float:
    """Integral of the projected potential over the plane [V nm³]: 2π a₀e f(0)."""
    return 2 * pi * BOHR_NM * E2_V_NM * float(scattering_factor(atomic_number, 0.0))


@dataclass(frozen=True)
class Block(Specimen):
    """A box filled with atoms given one by one."""

    positions: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """(N, 3) [nm]."""
    numbers: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(N,) atomic numbers."""

    def atoms(self) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Positions (N, 3) [nm] and atomic numbers (N,)."""
        return self.positions, self.numbers


#: Atoms of the cubic cell, in fractions of its edge.
FCC: Floats = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
DIAMOND: Floats = np.vstack([FCC, FCC + 0.25])


def cubic_block(basis: Floats, atomic_number: int, a_nm: float, deep: int, wide: int = 1) -> Block:
    """`wide` × `wide` × `deep` cubic cells along [001]; the box is exactly as large as the crystal."""
    cells = np.stack(np.meshgrid(range(wide), range(wide), range(deep), indexing="ij"), axis=-1).reshape(
        -1, 1, 3
    )
    positions = (cells + basis).reshape(-1, 3) * a_nm
    positions[:, 2] += 1e-4  # into the first slice, not onto its border
    numbers = np.full(len(positions), atomic_number, dtype=np.int64)
    return Block(wide * a_nm, deep * a_nm, (), np.zeros((0, 3)), 0.0, positions=positions, numbers=numbers)


def beams(wave: Wave) -> npt.NDArray[np.complex128]:
    """Amplitudes (H, W) of the diffracted beams of a periodic wave (H, W), in FFT order; the incident one is 1."""
    return np.asarray(np.fft.fft2(wave.astype(np.complex128)) / wave.size)


def extinction_distance(wave: Wave, index: tuple[int, int], block: Block, energy_kev: float) -> float:
    """Extinction distance ξ [nm] from the amplitude of a beam behind a thin crystal: |ψ| = (πt/ξ) |sinc(st)|.

    The kinematic limit of the two-beam solution (H); s = λg²/2 is the deviation for a beam along the zone.
    """
    g = float(np.hypot(*index)) / block.side_nm
    deviation = wavelength_nm(energy_kev) * g**2 / 2
    thickness = block.height_nm
    return float(pi * thickness * abs(np.sinc(deviation * thickness)) / abs(beams(wave)[index]))


def bloch_waves(
    basis: Floats,
    atomic_number: int,
    a_nm: float,
    energy_kev: float,
    thickness_nm: npt.ArrayLike,
    largest_g: float,
) -> dict[tuple[int, int], npt.NDArray[np.complex128]]:
    """Amplitudes (T,) of the zero-layer beams (h, k) behind a cubic crystal along [001], by Bloch waves (H).

    With the first Laue zones, without absorption: the eigenvectors of s_g on the diagonal and λ U_{g-h} / 2 beside it.

    Parameters
    ----------
    thickness_nm : (T,) [nm].
    largest_g : beams up to this lateral frequency [nm⁻¹]; those of the first Laue zones where |s| < 3 nm⁻¹.
    """
    wavelength = wavelength_nm(energy_kev)
    reach = int(largest_g * a_nm)
    h, k, layer = np.meshgrid(range(-reach, reach + 1), range(-reach, reach + 1), (-1, 0, 1), indexing="ij")
    g = np.stack([h, k, layer], axis=-1).reshape(-1, 3)
    lateral = np.hypot(g[:, 0], g[:, 1]) / a_nm
    deviation = -g[:, 2] / a_nm - wavelength * lateral**2 / 2
    allowed = np.abs(np.exp(2j * pi * g @ basis.T).sum(axis=1)) > 1e-6
    kept = allowed & (lateral <= largest_g) & ((g[:, 2] == 0) | (np.abs(deviation) < 3))
    g, deviation = g[kept], deviation[kept]
    between = g[:, None] - g[None]
    structure = np.exp(-2j * pi * between @ basis.T).sum(axis=-1)
    factor = scattering_factor(atomic_number, np.linalg.norm(between, axis=-1) / a_nm)
    coupling = (1 + energy_kev / REST_KEV) / (pi * a_nm**3) * factor * structure
    matrix = 0.5 * wavelength * coupling
    matrix[np.diag_indices(len(g))] += deviation
    values, vectors = np.linalg.eigh(matrix)
    start = vectors[int(np.flatnonzero((g == 0).all(axis=1))[0])].conj()
    phases = np.exp(2j * pi * values[:, None] * np.atleast_1d(np.asarray(thickness_nm, dtype=float)))
    amplitudes = vectors @ (phases * start[:, None])
    return {(int(x[0]), int(x[1])): amplitudes[i] for i, x in enumerate(g) if x[2] == 0}


def propagated(wave: Wave, pixel_size_nm: float, distance_nm: float, energy_kev: float) -> Wave:
    """The wave (H, W) `distance_nm` further down in vacuum: its transform times exp(-iπλdk²) (K, ch. 6)."""
    kr, kc = frequencies((wave.shape[0], wave.shape[1]), pixel_size_nm)
    phase = -pi * wavelength_nm(energy_kev) * distance_nm * (kr**2 + kc**2)
    return np.asarray(np.fft.ifft2(np.fft.fft2(wave) * np.exp(1j * phase)), dtype=np.complex64)


def contrast_transfer(conditions: Conditions, k_per_nm: npt.ArrayLike) -> Floats:
    """sin χ of the round aberrations at the frequencies k, χ = π λ C1 k² + ½ π C3 λ³ k⁴ (K, ch. 3)."""
    k, wavelength = np.asarray(k_per_nm, dtype=float), wavelength_nm(conditions.energy_kev)
    chi = pi * wavelength * k**2 * (conditions.defocus_nm + 500 * conditions.cs_um * (wavelength * k) ** 2)
    return np.asarray(np.sin(chi))


def transfer_zeros(conditions: Conditions, up_to_per_nm: float) -> Floats:
    """Frequencies (n,) [nm⁻¹] at which the contrast transfer changes sign; defocus from the object's middle."""
    k = np.linspace(0, up_to_per_nm, 200_001)[1:]
    crossing = np.flatnonzero(np.diff(np.sign(contrast_transfer(conditions, k))))
    return np.asarray((k[crossing] + k[crossing + 1]) / 2)


def radial_power(image: Image) -> Floats:
    """Power spectrum of a square image (N, N), its mean over rings one FFT bin wide, (N/2,)."""
    size = image.shape[0]
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    kr, kc = frequencies((size, size), 1.0)
    ring = np.rint(np.hypot(kr, kc) * size).astype(int).ravel()
    total, members = np.bincount(ring, power.ravel()), np.bincount(ring)
    return np.asarray(total[: size // 2] / members[: size // 2], dtype=np.float64)


def power_minima(image: Image, pixel_size_nm: float) -> Floats:
    """Frequencies (n,) [nm⁻¹] of the minima of the radial power spectrum of an image (N, N).

    A minimum is a ring that its surroundings exceed e-fold on both sides; its place is the vertex of the parabola
    through it and two rings to either side. Nothing is known beforehand of where they should be.
    """
    power = radial_power(image)
    found, _ = find_peaks(-np.log(power[1:]), prominence=1.0)
    bin_per_nm = 1 / (image.shape[0] * pixel_size_nm)
    places = []
    for ring in found + 1:
        if not 2 <= ring < len(power) - 2:
            continue
        curve = np.polyfit(np.arange(-2, 3), power[ring - 2 : ring + 3] / power[ring], 2)
        places.append(ring - (curve[1] / (2 * curve[0]) if curve[0] > 0 else 0.0))
    return np.asarray(np.array(places) * bin_per_nm, dtype=np.float64)


def lattice_peaks(
    image: Image,
    pixel_size_nm: float,
    diameter_nm: float,
    within_per_nm: tuple[float, float],
    share: float = 0.1,
    padding: int = 4,
) -> Floats:
    """Frequencies (n,) [nm⁻¹] of the peaks in the power spectrum of a particle in the middle of an image (N, N).

    The particle is cut out with cos² from its centre to its rim; the transform is taken on a `padding` times finer
    grid, and each peak's place is the vertex of parabolas through the logarithm of its neighbours.

    Parameters
    ----------
    within_per_nm : lowest and highest frequency that is looked at.
    share : peaks of at least this share of the highest one's power.
    """
    size = image.shape[0]
    x = (np.arange(size) - size / 2) * pixel_size_nm
    radius = np.hypot(x[:, None], x[None])
    window = np.where(2 * radius < diameter_nm, np.cos(pi * radius / diameter_nm) ** 2, 0)
    inside = (image - (image * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fftshift(np.fft.fft2(inside, (padding * size, padding * size)))) ** 2
    k = np.fft.fftshift(np.fft.fftfreq(padding * size, pixel_size_nm))
    step = float(k[1] - k[0])
    distance = np.hypot(k[:, None], k[None])
    seen = (distance > within_per_nm[0]) & (distance < within_per_nm[1]) & (k[None] >= 0)
    width = 2 * round(1 / (diameter_nm * step)) + 1
    peak = seen & (power == ndimage.maximum_filter(power, width))
    peak &= power >= share * power[peak].max()
    found = []
    for row, column in zip(*np.nonzero(peak), strict=True):
        near = np.log(power[row - 1 : row + 2, column - 1 : column + 2])
        offset = [(a - c) / (2 * (a - 2 * b + c)) for a, b, c in (near[:, 1], near[1])]
        found.append(float(np.hypot(k[row] + offset[0] * step, k[column] + offset[1] * step)))
    return np.array(found)
