"""What can go wrong in judging a frame.

ModelError
├── CannotAnalyse     the frame cannot be judged: rejected with this sentence
└── BundleRefused     the bundle is damaged, foreign or of another version
"""

from __future__ import annotations


class ModelError(Exception):
    """Root of this floor's errors; its text is one sentence for the operator."""


class CannotAnalyse(ModelError):
    """The frame cannot be judged; the text says why and what would help."""


class BundleRefused(ModelError):
    """The bundle is damaged, foreign or of another version; the text names it."""
