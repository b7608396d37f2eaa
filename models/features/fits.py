"""Words of A, B, C fitted to the samples of stacks by least squares: all words and ramps, and many stacks, at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features.words import FAULTLESS, Words

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

REGRESSORS = 5
"""Complex coefficients that are fitted to every word."""
RAMPS = np.linspace(-0.04, 0.04, 9)
"""Phase ramps that are tried [cycles a layer]: an error of the axis' direction of up to 2.4°."""


@dataclass(frozen=True)
class Fits:
    """How well each candidate word explains the layers of each of some stacks (…)."""

    share: Real
    """(…, A, C) share of the samples' energy that each word explains at each of the `RAMPS`."""
    explained: Real
    """(…, C) the largest over the ramps."""
    adjusted: Real
    """(…, C) the same, adjusted for the number of regressors."""
    faultless: npt.NDArray[np.intp]
    """(…) the best word without a fault."""
    faulted: npt.NDArray[np.intp]
    """(…) the best word with one."""

    def ramps(self, words: npt.NDArray[np.intp]) -> Real:
        """(…) the best ramp of each stack's word (…) [cycles a layer]."""
        own = np.take_along_axis(self.share, words[..., None, None], axis=-1)[..., 0]
        return np.asarray(RAMPS[own.argmax(axis=-1)])


def fit_words(samples: Complex, pixels: Real, candidates: Words) -> Fits:
    """Fit every candidate word to the samples (…, N, 2) of stacks of as many layers by least squares.

    A sample on a layer is fitted by that layer, its predecessor and its successor, one between two layers by those two:
    five complex coefficients, the same along the whole stack, and two fits that share none.

    Parameters
    ----------
    pixels : (…, N, 2) number of pixels behind each sample.
    """
    layers = samples.shape[-2]
    # Samples times the roots of their pixels, at every ramp: (…, A, N) on the layers, and between them.
    weighted = (samples * np.sqrt(pixels)).swapaxes(-1, -2)[..., None, :] * _ramps(layers)
    on, between = weighted[..., 0, :, :], weighted[..., 1, :, :]
    sides = np.zeros((REGRESSORS, *on.shape), np.complex64)
    sides[0], sides[1, ..., :-1], sides[2, ..., 1:] = on, on[..., 1:], on[..., :-1]
    sides[3], sides[4, ..., 1:] = between, between[..., :-1]
    right = (sides.reshape(-1, layers) @ candidates.conjugates).reshape(*sides.shape[:-1], -1)
    explained = _explained(_gram_on(pixels[..., 0], candidates), list(right[:3]))
    explained += _explained(_gram_between(pixels[..., 1], candidates), list(right[3:]))
    share = explained / (energy_of(samples) + 1e-12)[..., None, None]  # (…, A, C)
    best = share.max(axis=-2)
    return Fits(
        share,
        best,
        1 - (1 - best) * (2 * layers) / max(1, 2 * layers - REGRESSORS),
        faultless=best[..., :FAULTLESS].argmax(axis=-1),
        faulted=FAULTLESS + best[..., FAULTLESS:].argmax(axis=-1),
    )


def energy_of(samples: Complex) -> Real:
    """(…) the squared length of samples (…, N, 2)."""
    return np.asarray((samples.real**2 + samples.imag**2).sum(axis=(-2, -1)))


@lru_cache(maxsize=64)
def _ramps(layers: int) -> Complex:
    """(A, N) the phase ramps that are tried."""
    return np.asarray(np.exp(-2j * np.pi * np.outer(RAMPS, np.arange(layers))))


Gram = list[list[Any]]
"""[R][R] scalar products of the regressors of every word, each (…, C) or (…, 1); below the diagonal unused."""


def _gram_on(pixels: Real, candidates: Words) -> Gram:
    """Of the samples on layers: the layer, its predecessor, its successor. Pixels (…, N)."""
    one, two = (following.T for following in candidates.following)
    before, after = (pixels[..., 1:] @ one).conj(), pixels[..., :-1] @ one
    across = pixels[..., 1:-1] @ two
    whole, first, last = pixels.sum(axis=-1, keepdims=True), pixels[..., :1], pixels[..., -1:]
    return [[whole, before, after], [None, whole - first, across], [None, None, whole - last]]


def _gram_between(pixels: Real, candidates: Words) -> Gram:
    """Of the samples between two layers: the one, and the next. Pixels (…, N)."""
    whole = pixels.sum(axis=-1, keepdims=True)
    following = pixels[..., :-1] @ candidates.following[0].T
    return [[whole, following], [None, whole - pixels[..., -1:]]]


def _explained(gram: Gram, right: list[Any]) -> Real:
    """(…, A, C) squared length of what least squares explains: Gaussian elimination, for all words and ramps at once.

    Parameters
    ----------
    right : [R] of (…, A, C), the regressors' scalar products with what was seen.
    """
    total = np.zeros(right[0].shape, np.float32)
    for i, row in enumerate(gram):
        pivot = np.maximum(np.real(row[i]), 0.0) + 1e-9
        square = right[i].real ** 2
        square += right[i].imag ** 2
        square *= (1 / pivot).astype(np.float32)[..., None, :]
        total += square
        for j in range(i + 1, len(gram)):
            factor = np.conj(row[j]) / pivot
            right[j] = right[j] - factor.astype(np.complex64)[..., None, :] * right[i]
            for k in range(j, len(gram)):
                gram[j][k] = gram[j][k] - factor * row[k]
    return total
