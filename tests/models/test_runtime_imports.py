"""What judges a frame during a session needs no training package, and imports nothing of training."""

import subprocess
import sys

HEAVY = (
    "abtem", "ase", "h5py", "matplotlib", "onnx", "onnxscript", "safetensors", "sklearn", "skops", "torch",
)  # fmt: skip

SCRIPT = f"""
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"refused: {{name}}", name=name)

sys.meta_path.insert(0, Refuse())

import numpy as np
import models.analysis, models.bundle, models.explain.explanation, models.features.crystals, models.quality

bundle = models.bundle.load_bundle(device="cpu")
rows, columns = np.mgrid[:256, :256]
disc = np.hypot(rows - 128, columns - 128) < 50
fringes = 1 + disc * (0.3 * np.cos(rows * 0.9) + 0.3 * np.cos(columns * 0.9) - 0.2)
frame = np.random.default_rng(1).poisson(200 * fringes).astype(np.uint16)
found = models.analysis.analyse(frame, 0.05, bundle)
print(len(found.particles))
print(sorted(name for name in sys.modules if name.startswith("models.") and name.split(".")[1] in
      ("examples", "evaluation", "training", "studies")))
"""


def test_a_frame_is_judged_where_no_training_package_can_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    particles, of_training = done.stdout.splitlines()
    assert int(particles) >= 1
    assert of_training == "[]"
