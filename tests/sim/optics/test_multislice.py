"""Exit waves: the same again in another process, and phonon by phonon."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from sim.optics.multislice import exit_wave
from sim.specimen.draw import Specimen

ONE_WAVE = """
import hashlib
import numpy as np
from sim.optics.multislice import exit_wave
from sim.specimen.draw import Specimen
atoms = np.random.default_rng(0).uniform(0, 1, (800, 3)) * [3.2, 3.2, 1.5]
print(hashlib.sha256(exit_wave(Specimen(3.2, 2.0, (), atoms, 1.5), 192).tobytes()).hexdigest())
"""


def test_two_processes_give_the_same_wave_bit_for_bit(tmp_path: Path) -> None:
    """The first chooses how FFTs are done, and the second does them alike."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    digests = [
        subprocess.run(
            [sys.executable, "-c", ONE_WAVE], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert digests[0] == digests[1]
    assert (tmp_path / "faultwatch" / "fft-plans").stat().st_size > 100


def test_nowhere_to_keep_plans_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    environment = {**os.environ, "XDG_CACHE_HOME": str(file), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", ONE_WAVE], env=environment, capture_output=True, check=True)


def test_phonons_are_one_wave_each_and_follow_the_seed() -> None:
    atoms = np.random.default_rng(0).uniform(0, 1, (800, 3)) * [3.2, 3.2, 1.5]
    specimen = Specimen(3.2, 2.0, (), atoms, 1.5)
    three = exit_wave(specimen, 96, phonons=3, seed=1)
    assert three.shape == (3, 96, 96)
    assert abs(three[0] - three[1]).max() > 1e-3
    np.testing.assert_array_equal(three, exit_wave(specimen, 96, phonons=3, seed=1))
