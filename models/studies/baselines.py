"""Baselines for the forest: the published recipe, and a small convolutional network on the same crops.

The recipe is that of Groschner, Choi and Scott (*Microsc. Microanal.* 27, 549, 2021): 500 trees on five figures of a
particle's box, namely mean and standard deviation of the ring sums of its |FFT|, of the image, and a centre of mass.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn

from models.results import CLASSES

PUBLISHED_TREES = 500


def published_features(box: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(5,) of a box (h, w) in its own counts: they change with its size and its scale, as published."""
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(box)))
    h, w = box.shape
    radius = np.hypot(*np.ogrid[-(h // 2) : h - h // 2, -(w // 2) : w - w // 2]).astype(int)
    sums = np.bincount(radius.ravel(), spectrum.ravel())
    centre = float((np.arange(len(sums)) * sums).sum() / (sums.sum() + 1e-12))
    return np.array([sums.mean(), sums.std(), box.mean(), box.std(), centre])


def published_forest(seed: int) -> RandomForestClassifier:
    """The recipe's forest."""
    return RandomForestClassifier(n_estimators=PUBLISHED_TREES, random_state=seed, n_jobs=1)


class SmallCNN(nn.Module):
    """Four blocks of convolution, normalisation and pooling; mean over what is left; 4 classes. About 100,000 weights.

    Images (B, 1, 96, 96) → logits (B, 4).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64), (64, 96)):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(96, len(CLASSES)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.body(images).mean(dim=(2, 3)))
        return logits


def cnn_probabilities(
    learn: npt.NDArray[np.float16],
    classes: npt.NDArray[np.int64],
    check: npt.NDArray[np.float16],
    *,
    epochs: int,
    seed: int,
) -> npt.NDArray[np.float64]:
    """Train on crops (R, 96, 96) and their classes (R,); probabilities (S, 4) of the crops (S, 96, 96) to check.

    Classes weigh alike; crops are turned and mirrored at random.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = SmallCNN().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    batch = 64
    steps = epochs * max(1, len(learn) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps + 1)
    counts = np.bincount(classes, minlength=len(CLASSES))
    weight = torch.tensor(len(classes) / (len(CLASSES) * np.maximum(counts, 1)), dtype=torch.float32)
    net.train()
    for _ in range(steps):
        chosen = rng.choice(len(learn), min(batch, len(learn)), replace=False)
        images = np.rot90(learn[chosen].astype(np.float32), int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            images = images[:, ::-1]
        images = images * np.float32(np.exp(rng.normal(0, 0.15)))
        seen = torch.from_numpy(np.ascontiguousarray(images))[:, None]
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(seen.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits.float(), torch.from_numpy(classes[chosen]), weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    net.eval()
    with torch.no_grad():
        parts = [
            torch.softmax(net(torch.from_numpy(check[i : i + 256].astype(np.float32))[:, None]), dim=1)
            for i in range(0, len(check), 256)
        ]
    return np.concatenate([part.numpy() for part in parts]).astype(np.float64)
