"""The pictures of `docs/physics.md` and the numbers in them.

`python -m sim.checks.figure docs/physics.png docs/carbon.png`; the second is optional.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from sim.checks.physics import (
    DIAMOND,
    beams,
    bloch_waves,
    cubic_block,
    extinction_distance,
    lattice_peaks,
    power_minima,
    projected_integral,
    projected_potential,
    radial_power,
    transfer_zeros,
)
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image, image_wave
from sim.optics.multislice import exit_wave
from sim.specimen.carbon import amorphous_slab, coordination, radial_distribution
from sim.specimen.draw import Placed, Specimen
from sim.specimen.materials import MATERIALS
from sim.specimen.particle import build


def _film_zeros(axes: Sequence[Any], say: Callable[[str], None]) -> None:
    """The zeros of a film of amorphous carbon: two power spectra, and every measured zero against the formula."""
    side, thickness, gap, gpts = 25.6, 1.5, 0.5, 512
    pixel = side / gpts
    carbon = amorphous_slab(side, thickness, seed=1, steps=8).astype(float) + np.array([0, 0, gap])
    film = Specimen(side, thickness + 2 * gap, (), carbon, thickness)
    worst, count = 0.0, 0
    for energy, marker in ((80.0, "o"), (200.0, "s"), (300.0, "^")):
        wave = exit_wave(film, gpts, energy)
        for cs, colour in ((-10.0, "tab:blue"), (1200.0, "tab:red")):
            for defocus in (-100.0, -60.0, -30.0, 45.0):
                at_exit = Conditions(
                    energy_kev=energy, cs_um=cs, defocus_nm=defocus, focal_spread_nm=0, angular_spread_mrad=0
                )
                zeros = transfer_zeros(replace(at_exit, defocus_nm=defocus + gap + thickness / 2), 6.5)
                image = image_wave(wave, pixel, at_exit)
                ends = np.concatenate([[0], zeros, [2 * zeros[-1] - zeros[-2]]])
                apart = np.minimum(np.diff(ends)[:-1], np.diff(ends)[1:]) * side
                alone = zeros[(apart >= 6) & (zeros < 6)]
                minima = power_minima(image, pixel)
                error = np.array([minima[np.abs(minima - z).argmin()] - z for z in alone]) * side
                axes[1].plot(alone, error, marker, color=colour, ms=4, mfc="none", lw=0)
                worst, count = max(worst, float(np.abs(error).max())), count + len(error)
                if energy == 300.0 and defocus == -60.0:
                    power = radial_power(image)
                    k = np.arange(len(power)) / side
                    axes[0].semilogy(
                        k[4:160], power[4:160], color=colour, lw=1, label=f"C3 = {cs / 1000:g} mm"
                    )
                    for z in zeros[zeros < 6.2]:
                        axes[0].axvline(z, color=colour, ls=":", lw=1)
    say(f"zeros of the contrast transfer: {count}, the farthest {worst:.2f} bins from the formula")
    axes[0].set(title="1.5 nm of carbon, 300 kV, C1 = -60 nm", xlabel="k [nm⁻¹]", ylabel="power of the image")
    axes[0].legend(fontsize=8, title="dotted: sin χ = 0", title_fontsize=8)
    axes[1].axhspan(-1, 1, color="0.93")
    axes[1].set(
        title=f"{count} zeros, 80 ○ 200 □ 300 △ kV", xlabel="k [nm⁻¹]", ylabel="measured - formula [FFT bins]"
    )
    axes[1].set_ylim(-1.5, 1.5)


def _spacings(ax: Any, say: Callable[[str], None]) -> None:
    """Spacings of particles of 6 and 8 nm in zone, against the crystal's."""
    cubic = {f"{h}{h}{k}": (h, h, k) for h in range(4) for k in range(5) if h % 2 == k % 2 and h + k > 0}
    wurtzite = {f"{h}-{h}0{k}" if h else f"000{k}": 1 / np.sqrt(4 * h * h / 3 / 0.42985**2 + k * k / 0.70152**2)
                for h in range(3) for k in range(5) if h + k > 0}  # fmt: skip
    of = {
        "CdSe-wurtzite": wurtzite,
        "CdSe-zincblende": {n: 0.6077 / float(np.linalg.norm(i)) for n, i in cubic.items()},
        "Au": {n: 0.4078 / float(np.linalg.norm(i)) for n, i in cubic.items()},
    }
    labels: list[str] = []
    for name, true in of.items():
        for diameter in (6.0, 8.0):
            rng = np.random.default_rng(0)
            particle = build(MATERIALS[name], diameter, "sphere", [], "near", 0.0, rng, 0.005)
            side, height = diameter + 2, float(np.ptp(particle.positions[:, 2])) + 1
            placed = Placed(particle, (side / 2, side / 2, height / 2))
            wave = exit_wave(Specimen(side, height, (placed,), np.zeros((0, 3)), 0.0), 256)
            focus = (-12.0 if name == "Au" else -9.0) - height / 2
            image = expected_image(wave, side / 256, Conditions(defocus_nm=focus, focal_spread_nm=2.0))
            for peak in lattice_peaks(image, side / 256, diameter, (2.0, 7.2)):
                index = min(true, key=lambda n: abs(true[n] * peak - 1))
                label = f"{name.replace('CdSe-', '')} {index}"
                labels += [label] if label not in labels else []
                off = 100 * (1 / peak / true[index] - 1)
                say(f"{diameter:.0f} nm {label}: {1 / peak:.4f} nm, {off:+.2f} % from {true[index]:.4f}")
                ax.plot(off, labels.index(label), "o" if diameter == 6 else "x", color="tab:blue", ms=5)
    ax.axvspan(-0.5, 0.5, color="0.93")
    ax.set(title="lattice spacings, 6 nm ○ and 8 nm ×", xlabel="measured / crystal - 1 [%]", xlim=(-0.8, 0.8))
    ax.set_yticks(range(len(labels)), labels, fontsize=8)


def _potentials(ax: Any, say: Callable[[str], None]) -> None:
    """abTEM's projected potential of one atom, on a fine grid, on the curve of Kirkland's table."""
    import abtem

    side, gpts = 1.0, 400
    x = (np.arange(gpts) - gpts // 2) * side / gpts
    for atomic_number, colour in ((6, "0.3"), (34, "tab:green"), (48, "tab:blue"), (79, "tab:orange")):
        atom = Atoms([atomic_number], [[5 * side, 5 * side, 2]], cell=[10 * side, 10 * side, 4], pbc=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # abTEM's dependencies announce their own deprecations
            potential = abtem.Potential(
                atom, gpts=gpts, slice_thickness=4, parametrization="kirkland", projection="infinite"
            )
            computed = 0.1 * potential.build().project().compute(progress_bar=False).array
        row, r = computed[gpts // 2, gpts // 2 + 2 :], x[gpts // 2 + 2 :]
        true = projected_potential(atomic_number, r)
        ax.loglog(r, true, color=colour, lw=1)
        ax.loglog(
            r[::4], row[::4], "o", color=colour, ms=3, mfc="none", label=chemical_symbols[atomic_number]
        )
        near = (r >= 0.02) & (r <= 0.06)
        off = 100 * float(np.abs(row[near] / true[near] - 1).max())
        total = float(computed.sum()) * (side / gpts) ** 2
        say(
            f"potential of {chemical_symbols[atomic_number]}: within {off:.2f} % from 0.02 to 0.06 nm, "
            f"integral {total:.5f} against {projected_integral(atomic_number):.5f} V nm³"
        )
    ax.set(
        title="projected potential: table (line), abTEM (○)",
        xlabel="r [nm]",
        ylabel="V nm",
        xlim=(0.005, 0.3),
    )
    ax.set_ylim(0.1, 400)
    ax.legend(fontsize=8)


def _bloch(ax: Any, say: Callable[[str], None]) -> None:
    """Dynamical beams in silicon: Bloch waves as lines, multislice as points."""
    a, energy = 0.5431, 200.0
    t = np.linspace(0, 33 * a, 200)
    lines = bloch_waves(DIAMOND, 14, a, energy, t, largest_g=38.0)
    deep = np.array([2, 5, 10, 15, 20, 25, 30])
    at = bloch_waves(DIAMOND, 14, a, energy, deep * a, largest_g=38.0)
    waves = [beams(exit_wave(cubic_block(DIAMOND, 14, a, int(n)), 128, energy)) for n in deep]
    for index, colour in (((0, 0), "0.3"), ((2, 2), "tab:blue"), ((4, 0), "tab:red")):
        got = np.array([abs(wave[index]) ** 2 for wave in waves])
        ax.plot(t, np.abs(lines[index]) ** 2, color=colour, lw=1, label=f"{index[0]}{index[1]}0")
        ax.plot(deep * a, got, "o", color=colour, ms=4, mfc="none")
        off = np.abs(got - np.abs(at[index]) ** 2)
        say(
            f"Si {index}: multislice - Bloch waves at most {off[deep <= 20].max():.4f} to 11 nm, "
            f"{off.max():.4f} to 16 nm"
        )
    ax.set(
        title="Si [001], 200 kV: Bloch (line), multislice (○)", xlabel="thickness [nm]", ylabel="intensity"
    )
    ax.legend(fontsize=8)


def _published(ax: Any, say: Callable[[str], None]) -> None:
    """Published numbers and ours."""
    block = cubic_block(DIAMOND, 14, 0.5431, deep=1)
    wave = exit_wave(block, 96, 100.0)
    rows = []
    for index, published in (((2, 2), 75.7), ((4, 0), 126.8), ((4, 4), 209.3)):
        ours = extinction_distance(wave, index, block, 100.0)
        rows.append(
            (f"Si {index[0]}{index[1]}0 extinction: {published} nm", ours / published, f"{ours:.1f} nm")
        )
    carbon = amorphous_slab(6.4, 2.0, seed=3, steps=8).astype(float) + np.array([0, 0, 0.5])
    film = Specimen(6.4, 3.0, (), carbon, 2.0)
    scattered = [1 - abs(beams(exit_wave(film, 256, energy))[0, 0]) ** 2 for energy in (100.0, 300.0)]
    ratio = scattered[0] / scattered[1]
    rows.append(("carbon, elastic 100 / 300 kV: 2.01", ratio / 2.01, f"{ratio:.2f}"))
    for i, (label, relative, ours_said) in enumerate(rows):
        off = 100 * (float(relative) - 1)
        say(f"{label}; here {ours_said}, {off:+.1f} %")
        ax.plot(off, -i, "o", color="tab:red")
        ax.annotate(f"{label}; here {ours_said}", (-4.8, -i + 0.18), fontsize=8)
    ax.axvspan(-3, 3, color="0.93")
    ax.set(title="published numbers", xlabel="ours / published - 1 [%]", xlim=(-5, 5), ylim=(-3.6, 0.7))
    ax.set_yticks([])


def draw(path: Path, say: Callable[[str], None] = print) -> None:
    """Run the checks that make a picture, draw it and say the numbers; about half a minute."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, 3)
    _film_zeros(axes[0], say)
    _spacings(axes[0, 2], say)
    _potentials(axes[1, 0], say)
    _bloch(axes[1, 1], say)
    _published(axes[1, 2], say)
    figure.savefig(path)


def draw_carbon(path: Path, say: Callable[[str], None] = print) -> None:
    """The radial distribution of amorphous carbon at three densities."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), dpi=100, layout="constrained")
    ax = figure.subplots()
    box = np.full(3, 6.0)
    for density in (1.7, 1.9, 2.2):
        slab = amorphous_slab(6.0, 6.0, seed=1, density_g_cm3=density)
        r, g = radial_distribution(slab, box, 1.0, 250)
        ax.plot(r, g, lw=1, label=f"{density} g/cm³")
        near = r < 0.2
        say(
            f"carbon, {density} g/cm³: first peak {r[near][g[near].argmax()]:.3f} nm, "
            f"{coordination(slab, box):.2f} neighbours, second peak {r[~near][g[~near].argmax()]:.3f} nm"
        )
    ax.axhline(1, color="0.6", lw=0.8)
    ax.set(title="amorphous carbon", xlabel="distance [nm]", ylabel="g(r)", ylim=(0, None))
    ax.legend(fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        draw_carbon(Path(sys.argv[2]))
