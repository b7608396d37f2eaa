"""docs/formats.md is what the readers say of themselves."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from monitor.read.document import document
from monitor.read.formats.about import About
from monitor.read.names import FORMATS

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats.md"


def test_the_document_is_as_the_command_makes_it() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), (
        "run python -m monitor.read.document > docs/formats.md"
    )


@pytest.mark.parametrize("module", sorted({one.module for one in FORMATS}))
def test_every_reader_tells_all_of_itself(module: str) -> None:
    told = importlib.import_module(f"monitor.read.formats.{module}").ABOUT
    for about in told if isinstance(told, tuple) else (told,):
        assert isinstance(about, About)
        for part in (about.name, about.versions, about.cameras, about.types, about.pixel_size, about.time):
            assert part
        assert f"## {about.name}\n" in document()


def test_every_suffix_is_named() -> None:
    text = document()
    for one in FORMATS:
        for suffix in one.suffixes:
            assert f"`{suffix}`" in text
