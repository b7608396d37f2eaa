"""The simulation against what is known of it without a simulation: laws, tables and published numbers."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import hypot, pi, sqrt

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms

from sim.checks.physics import (
    DIAMOND,
    KIRKLAND,
    Block,
    beams,
    bloch_waves,
    contrast_transfer,
    cubic_block,
    extinction_distance,
    lattice_peaks,
    power_minima,
    projected_integral,
    projected_potential,
    propagated,
    scattering_factor,
    transfer_zeros,
)
from sim.optics.camera import CAMERAS, detect, electrons_a_pixel
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image, image_wave, record
from sim.optics.multislice import PHONON_NM, exit_wave
from sim.optics.transfer import frequencies, wavelength_nm
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Placed, Specimen, projected_mask
from sim.specimen.materials import MATERIALS
from sim.specimen.particle import build

Wave = npt.NDArray[np.complex64]

NOTHING = np.zeros((0, 3))
COHERENT = Conditions(focal_spread_nm=0, angular_spread_mrad=0, vibration_nm=0)

FILM_SIDE, FILM_NM, FILM_GPTS, GAP = 25.6, 1.5, 512, 0.5
TO_MIDDLE = GAP + FILM_NM / 2
BIN = 1 / FILM_SIDE


def carbon_film(side: float, thickness: float, seed: int) -> Specimen:
    """A film with `GAP` of vacuum above and below."""
    carbon = amorphous_slab(side, thickness, seed, steps=8).astype(float)
    carbon[:, 2] += GAP
    return Specimen(side, thickness + 2 * GAP, (), carbon, thickness)


def in_vacuum(name: str, diameter: float, seed: int = 0, tilt: float = 0.0) -> tuple[Specimen, Placed]:
    """A faultless sphere in zone in the middle of a box 2 nm wider."""
    particle = build(
        MATERIALS[name], diameter, "sphere", [], "near", tilt, np.random.default_rng(seed), 0.005
    )
    side, height = diameter + 2, float(np.ptp(particle.positions[:, 2])) + 1
    placed = Placed(particle, (side / 2, side / 2, height / 2))
    return Specimen(side, height, (placed,), NOTHING, 0.0), placed


@pytest.fixture(scope="module")
def film() -> Specimen:
    return carbon_film(FILM_SIDE, FILM_NM, seed=1)


@pytest.fixture(scope="module")
def film_waves(film: Specimen) -> dict[float, Wave]:
    return {energy: exit_wave(film, FILM_GPTS, energy) for energy in (80.0, 200.0, 300.0)}


@pytest.mark.parametrize("defocus", [-30.0, -60.0, -100.0, 45.0])
@pytest.mark.parametrize("cs", [-10.0, 1200.0])
@pytest.mark.parametrize("energy", [80.0, 200.0, 300.0])
def test_contrast_transfer_zeros_lie_where_the_formula_puts_them(
    film_waves: dict[float, Wave], energy: float, cs: float, defocus: float
) -> None:
    """Every zero up to 6 nm⁻¹ that stands at least 6 bins from its neighbours, within one bin of the measured minima.

    The exit wave is that of the box's lower face, so the middle of the film is out of focus by the way to it, too.
    """
    conditions = replace(COHERENT, energy_kev=energy, cs_um=cs, defocus_nm=defocus)
    from_middle = replace(conditions, defocus_nm=defocus + TO_MIDDLE)
    zeros = transfer_zeros(from_middle, 6.5)
    alone = np.minimum(np.diff(zeros, prepend=0), np.diff(zeros, append=2 * zeros[-1] - zeros[-2])) >= 6 * BIN
    resolved = zeros[alone & (zeros < 6)]
    assert len(resolved) >= 1
    pixel = FILM_SIDE / FILM_GPTS
    minima = power_minima(image_wave(film_waves[energy], pixel, conditions), pixel)
    for zero in resolved:
        assert np.abs(minima - zero).min() < BIN
    # No minimum stands where the formula transfers anything; sin χ may also touch 0 without crossing it.
    for minimum in minima[minima < resolved.max() + 2 * BIN]:
        assert (
            np.abs(contrast_transfer(from_middle, np.linspace(minimum - BIN, minimum + BIN, 51))).min() < 0.1
        )


def test_the_zeros_are_sharp_enough_to_tell_the_middle_of_the_film_from_its_exit_face(
    film_waves: dict[float, Wave],
) -> None:
    conditions = replace(COHERENT, defocus_nm=-30.0)
    pixel = FILM_SIDE / FILM_GPTS
    minima = power_minima(image_wave(film_waves[300.0], pixel, conditions), pixel)
    for wrong in (0.0, 2 * TO_MIDDLE):
        first = transfer_zeros(replace(conditions, defocus_nm=conditions.defocus_nm + wrong), 6.5)[0]
        assert np.abs(minima - first).min() > BIN


def cubic_spacings(a: float) -> list[float]:
    """Lattice spacings [nm] of a face-centred cubic crystal's zone ⟨110⟩, here [1-10]."""
    indices = [(h, k) for h in range(5) for k in range(7) if h % 2 == k % 2 and h + k > 0]
    return [a / sqrt(2 * h * h + k * k) for h, k in indices]


def wurtzite_spacings(a: float, c: float) -> list[float]:
    """Lattice spacings [nm] of a hexagonal crystal's zone ⟨11-20⟩: 1/d² = 4h²/3a² + l²/c²."""
    indices = [(h, k) for h in range(4) for k in range(7) if h + k > 0]
    return [1 / sqrt(4 * h * h / (3 * a * a) + k * k / (c * c)) for h, k in indices]


@pytest.mark.parametrize(
    ("name", "spacings", "strongest", "defocus"),
    [
        ("CdSe-wurtzite", wurtzite_spacings(0.42985, 0.70152), (0.35076, 0.37226, 0.32883), -9.0),
        ("CdSe-zincblende", cubic_spacings(0.6077), (0.35086, 0.21486), -9.0),
        ("Au", cubic_spacings(0.4078), (0.23544, 0.2039), -12.0),
    ],
)
@pytest.mark.parametrize("diameter", [6.0, 8.0])
def test_lattice_spacings_of_a_particle_in_zone(
    name: str, spacings: list[float], strongest: tuple[float, ...], defocus: float, diameter: float
) -> None:
    """All peaks of a tenth of the strongest one's power stand at the crystal's spacings, within 0.5 %."""
    specimen, _ = in_vacuum(name, diameter)
    wave = exit_wave(specimen, 256)
    pixel = specimen.side_nm / 256
    conditions = Conditions(defocus_nm=defocus - specimen.height_nm / 2, focal_spread_nm=2.0)
    peaks = lattice_peaks(expected_image(wave, pixel, conditions), pixel, diameter, (2.0, 7.2))
    measured = 1 / peaks
    error = [min(abs(d / true - 1) for true in spacings) for d in measured]
    assert max(error) < 0.005
    for d in strongest:
        assert np.abs(measured / d - 1).min() < 0.005


def test_vacuum_conserves_the_intensity() -> None:
    vacuum = exit_wave(Specimen(6.4, 6.4, (), NOTHING, 0.0), 128)
    np.testing.assert_allclose(np.abs(vacuum) ** 2, 1, atol=1e-6)


def test_aberrations_conserve_the_intensity(film_waves: dict[float, Wave]) -> None:
    """A phase in Fourier space moves intensity and loses none (Parseval); only an aperture takes some away."""
    wave, pixel = film_waves[300.0], FILM_SIDE / FILM_GPTS
    arriving = float(np.mean(np.abs(wave) ** 2))
    conditions = replace(
        COHERENT, defocus_nm=-60.0, cs_um=1200.0, astigmatism_nm=5.0, coma_nm=100.0, trefoil_nm=50.0
    )
    assert image_wave(wave, pixel, conditions).mean() == pytest.approx(arriving, rel=1e-5)
    kr, kc = frequencies((FILM_GPTS, FILM_GPTS), pixel)
    passing = float((np.abs(beams(wave)) ** 2)[kr**2 + kc**2 <= 16].sum())
    stopped = image_wave(wave, pixel, replace(conditions, aperture_per_nm=4.0)).mean()
    assert stopped == pytest.approx(passing, rel=1e-5)
    assert passing < arriving * (1 - 2e-4)


@pytest.mark.parametrize(
    ("name", "energy", "most"),
    [("carbon", 80.0, 0.005), ("carbon", 300.0, 0.002), ("CdSe-wurtzite", 300.0, 0.02), ("Au", 300.0, 0.08)],
)
def test_matter_loses_only_what_is_scattered_beyond_the_band_limit(
    name: str, energy: float, most: float
) -> None:
    """0.025 nm pixels carry 13.3 nm⁻¹, two thirds of Nyquist; what goes further is dropped, none is won.

    8 nm of carbon, and spheres of 4.4 nm in zone, within their outlines.
    """
    if name == "carbon":
        specimen = carbon_film(6.4, 8.0, seed=2)
        inside = np.ones((256, 256), bool)
    else:
        specimen, placed = in_vacuum(name, 4.4)
        inside = projected_mask(placed, specimen.side_nm, 256)
    intensity = np.abs(exit_wave(specimen, 256, energy)) ** 2
    assert 0 < 1 - intensity.mean() < most
    assert 0 < 1 - intensity[inside].mean() < most


@pytest.mark.parametrize("atomic_number", sorted(KIRKLAND))
def test_the_projected_potential_of_an_atom_is_kirklands(atomic_number: int) -> None:
    """Beyond 0.02 nm from the nucleus, to 1 % up to 0.06 nm, and to 0.5 % of its value at 0.02 nm further out."""
    import abtem

    side, gpts = 1.0, 400
    pixel = side / gpts
    atom = Atoms([atomic_number], [[5 * side, 5 * side, 2]], cell=[10 * side, 10 * side, 4], pbc=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        potential = abtem.Potential(
            atom, gpts=gpts, slice_thickness=4, parametrization="kirkland", projection="infinite"
        )
        computed = 0.1 * potential.build().project().compute(progress_bar=False).array.astype(float)
    x = (np.arange(gpts) - gpts // 2) * pixel
    table = np.zeros((gpts, gpts))
    for i in range(-2, 3):
        for j in range(-2, 3):
            away = np.hypot(x[:, None] - i * side, x[None] - j * side)
            table += projected_potential(atomic_number, np.maximum(away, 1e-4))
    r = np.hypot(x[:, None], x[None])
    near, far = (r >= 0.02) & (r < 0.06), r >= 0.06
    assert np.abs(computed[near] / table[near] - 1).max() < 0.01
    assert np.abs(computed[far] - table[far]).max() < 0.005 * float(projected_potential(atomic_number, 0.02))
    assert computed.sum() * pixel**2 == pytest.approx(projected_integral(atomic_number), rel=1e-4)


def test_the_table_is_the_one_that_abtem_ships() -> None:
    from abtem.parametrizations import KirklandParametrization
    from ase.data import chemical_symbols

    shipped = KirklandParametrization().parameters
    for atomic_number, rows in KIRKLAND.items():
        np.testing.assert_allclose(rows, shipped[chemical_symbols[atomic_number]], rtol=1e-6)


@pytest.mark.parametrize(("index", "published"), [((2, 2), 75.7), ((4, 0), 126.8), ((4, 4), 209.3)])
def test_extinction_distances_of_silicon_are_the_published_ones(
    index: tuple[int, int], published: float
) -> None:
    """Hirsch et al. (1965), 100 kV, without thermal vibration [nm]; one unit cell thick, to 3 %.

    Theirs is the two-beam theory with other scattering factors; ours is a multislice wave with all beams.
    """
    block = cubic_block(DIAMOND, 14, 0.5431, deep=1)
    assert extinction_distance(exit_wave(block, 96, 100.0), index, block, 100.0) == pytest.approx(
        published, rel=0.03
    )


def test_dynamical_beams_of_silicon_agree_with_bloch_waves() -> None:
    """Multislice and Bloch waves solve one equation: Si [001] at 200 kV up to 11 nm, to 0.01 of the beam."""
    cells, indices = (2, 10, 20), ((0, 0), (2, 2), (4, 0), (4, 4))
    expected = bloch_waves(DIAMOND, 14, 0.5431, 200.0, 0.5431 * np.array(cells), largest_g=32.0)
    for i, deep in enumerate(cells):
        got = beams(exit_wave(cubic_block(DIAMOND, 14, 0.5431, deep), 128, 200.0))
        for index in indices:
            assert abs(got[index]) ** 2 == pytest.approx(abs(expected[index][i]) ** 2, abs=0.01)
    # It is far from kinematic there: half of the incident beam is gone.
    assert abs(expected[0, 0][-1]) ** 2 < 0.5


def test_carbon_scatters_twice_as_much_at_100_as_at_300_kev() -> None:
    """Measured: 2.01 (Peet, Henderson and Russo, Ultramicroscopy 203 (2019) 125)."""
    film = carbon_film(6.4, 2.0, seed=3)
    scattered = [1 - abs(beams(exit_wave(film, 256, energy))[0, 0]) ** 2 for energy in (100.0, 300.0)]
    assert scattered[0] / scattered[1] == pytest.approx(2.01, rel=0.02)


def test_a_thin_crystal_scatters_by_its_structure_factor() -> None:
    """|ψ_g| = λ γ t F_g / V, and nothing where the structure factor is 0."""
    block = cubic_block(DIAMOND, 14, 0.5431, deep=1)
    got = beams(exit_wave(block, 96, 300.0))
    g = hypot(4, 0) / 0.5431
    factor = 8 * float(scattering_factor(14, g)) * (1 + 300 / 510.99895)
    expected = wavelength_nm(300.0) * factor * 0.5431 / 0.5431**3
    assert abs(got[4, 0]) == pytest.approx(expected, rel=0.02)
    assert abs(got[2, 0]) < 0.02 * abs(got[4, 0])  # forbidden by the glide of the diamond structure


def test_electrons_are_poisson_before_the_mtf() -> None:
    """Variance = mean at every brightness, a share of zeros exp(-mean), and pixels that know nothing of each other."""
    rng = np.random.default_rng(0)
    for dose in (5.0, 100.0, 2000.0):
        mean = electrons_a_pixel(dose, 0.025, 0.8)
        counts = detect(np.ones((512, 512), np.float32), mean, rng)
        assert mean == pytest.approx(dose * 0.25**2 * 0.8)
        assert counts.mean() == pytest.approx(mean, abs=5 * sqrt(mean) / 512)
        assert counts.var() == pytest.approx(mean, rel=5 * sqrt(2) / 512 + 5 / 512 / sqrt(mean))
        assert (counts == 0).mean() == pytest.approx(np.exp(-mean), abs=5 * 0.5 / 512)
        beside = np.mean((counts[1:] - mean) * (counts[:-1] - mean)) / mean
        assert abs(beside) < 5 / 512


def test_the_mtf_colours_the_noise_that_the_ideal_camera_leaves_white() -> None:
    """The noise power at Nyquist, over that at low frequency, is the square of the MTF there."""
    flat = np.ones((512, 512), np.float32)
    for name in ("ideal", "direct"):
        camera = replace(
            CAMERAS[name], gain_spread=0.0, hot_pixels=0.0, dead_pixels=0.0, xrays_per_megapixel=0.0
        )
        conditions = Conditions(dose_e_per_A2=2000.0, camera=camera)
        counts = record(flat, 0.05, conditions, np.random.default_rng(1))
        power = np.abs(np.fft.fft2(counts - counts.mean())) ** 2
        low = power[1:40, :40].mean() / power[246:257, :40].mean()
        assert 1 / low == pytest.approx(camera.mtf_nyquist**2, rel=0.12)


@pytest.fixture(scope="module")
def on_carbon() -> tuple[Specimen, Specimen, Specimen, Placed]:
    """A CdSe particle on 4 nm of carbon, the particle alone and the carbon alone, in the same box."""
    rng = np.random.default_rng(3)
    particle = build(MATERIALS["CdSe-wurtzite"], 4.0, "sphere", [], "near", 2.0, rng)
    half, film, side = float(np.ptp(particle.positions[:, 2])) / 2, 4.0, 8.0
    carbon = carbon_film(side, film, seed=4).carbon
    height = 0.5 + film + 0.1 + 2 * half + 0.5
    placed = Placed(particle, (side / 2, side / 2, 0.5 + film + 0.1 + half))
    return (
        Specimen(side, height, (placed,), carbon, film),
        Specimen(side, height, (placed,), NOTHING, 0.0),
        Specimen(side, height, (), carbon, film),
        placed,
    )


def test_a_particle_on_carbon_is_the_product_of_the_two_where_the_particle_is(
    on_carbon: tuple[Specimen, Specimen, Specimen, Placed],
) -> None:
    """Both waves brought to the particle's middle and multiplied: 3 % of the contrast is all that it gets wrong."""
    *specimens, placed = on_carbon
    full, particle, carbon = (exit_wave(specimen, 320) for specimen in specimens)
    pixel, back = specimens[0].side_nm / 320, specimens[0].height_nm - placed.centre[2]
    conditions = Conditions(defocus_nm=-8.0)
    mask = projected_mask(placed, specimens[0].side_nm, 320)
    truth = expected_image(propagated(full, pixel, -back, 300.0), pixel, conditions)[mask]

    def error(at_nm: float) -> float:
        """RMS difference from the truth, as a share of its contrast, of the product taken at this height."""
        up = at_nm - specimens[0].height_nm
        product = propagated(particle, pixel, up, 300.0) * propagated(carbon, pixel, up, 300.0)
        image = expected_image(propagated(product, pixel, placed.centre[2] - at_nm, 300.0), pixel, conditions)
        return float((image[mask] - truth).std() / truth.std())

    middle = error(placed.centre[2])
    assert middle < 0.03
    assert middle < error(specimens[0].height_nm)
    assert middle < error(0.5 + specimens[0].carbon_nm)
    without = expected_image(propagated(particle, pixel, -back, 300.0), pixel, conditions)[mask]
    assert (without - truth).std() / truth.std() > 3 * middle


def test_frozen_phonons_damp_a_thin_crystals_beams_by_the_debye_waller_factor() -> None:
    """Mean intensity exp(-4π²σ²g²), as the kinematic limit has it, within a tenth of the exponent.

    To σ² comes a sixth of a squared pixel: the potential's bilinear interpolation blurs atoms between grid points.
    """
    block = cubic_block(DIAMOND, 14, 0.5431, deep=1, wide=3)
    gpts = 384
    still = np.abs(beams(exit_wave(block, gpts, 300.0))) ** 2
    moving = [np.abs(beams(w)) ** 2 for w in exit_wave(block, gpts, 300.0, phonons=24, seed=1)]
    damped = np.mean(moving, axis=0)
    sigma2 = PHONON_NM**2 + (block.side_nm / gpts) ** 2 / 6
    for h, k in ((2, 2), (4, 0), (4, 4)):
        equal = [(3 * i, 3 * j) for i, j in {(h, k), (-h, k), (h, -k), (-h, -k), (k, h), (-k, h), (k, -h)}]
        ratio = sum(damped[e] for e in equal) / sum(still[e] for e in equal)
        exponent = 4 * pi**2 * sigma2 * (h * h + k * k) / 0.5431**2
        assert -np.log(ratio) == pytest.approx(exponent, rel=0.1)


def test_frozen_phonons_lower_the_lattice_contrast() -> None:
    """Of a particle thin enough to be far from its first extinction; a thick gold one gains, as its beams come back."""
    specimen, _ = in_vacuum("CdSe-wurtzite", 4.0)
    pixel = specimen.side_nm / 256
    conditions = Conditions(defocus_nm=-8.0 - specimen.height_nm / 2)
    kr, kc = frequencies((256, 256), pixel)

    def contrast(wave: Wave) -> float:
        """Standard deviation of the image that is left of the frequencies from 2.5 nm⁻¹."""
        spectrum = np.fft.fft2(expected_image(wave, pixel, conditions)) / 256**2
        return float(np.sqrt((np.abs(spectrum[kr**2 + kc**2 > 2.5**2]) ** 2).sum()))

    still = contrast(exit_wave(specimen, 256))
    moving = contrast(exit_wave(specimen, 256, phonons=4, seed=2))
    assert 0.9 * still < moving < 0.99 * still


@pytest.mark.parametrize(("pixel", "most"), [(0.025, 0.09), (0.05, 0.32)])
def test_an_atom_between_grid_points_is_blurred_by_no_more_than_linear_interpolation(
    pixel: float, most: float
) -> None:
    """Amplitude at 5 nm⁻¹, half a pixel off the grid: a loss of 1 - |cos(πk·pixel)|, for each direction at most."""
    side = 64 * pixel
    index = round(5.0 * side)

    def amplitude(offset: float) -> float:
        at = np.array([[(32 + offset) * pixel, 32 * pixel, 0.05]])
        atom = Block(side, 0.2, (), NOTHING, 0.0, positions=at, numbers=np.array([6]))
        return float(abs(beams(exit_wave(atom, 64))[index, 0]))

    loss = 1 - amplitude(0.5) / amplitude(0.0)
    assert -0.01 < loss < most
