"""Looks through a directory with all its sub-directories: what is there now, whatever events said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.record import DATABASE


@dataclass(frozen=True)
class Alias:
    """A symbolic link to a file below the same directory."""

    path: str
    target: str


def walk(root: Path) -> Iterator[tuple[str, os.stat_result] | Alias | OSError]:
    """Every file below `root` with its figures; an error for a sub-directory that can't be looked into.

    Symbolic links to elsewhere are followed, those to what lies below `root` are only told of: it comes by itself,
    under its own name, and loops end. Dot directories and recorded sessions are passed over: what a session
    spools is no news.

    Raises
    ------
    OSError
        `root` itself can't be looked into.
    """
    visited: set[tuple[int, int]] = set()
    waiting, links = [os.fspath(root)], list[str]()
    while waiting or links:
        # Links last, so that a directory that is reached both ways is known under its own name.
        folder = waiting.pop() if waiting else links.pop()
        try:
            figures = os.stat(folder)
            place = (figures.st_dev, figures.st_ino)
            if place in visited:
                continue
            visited.add(place)
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            if folder == os.fspath(root):
                raise
            if not isinstance(error, FileNotFoundError):
                yield error
            continue
        if any(entry.name == DATABASE for entry in listed):
            continue
        for entry in listed:
            try:
                if entry.is_dir():
                    if not entry.name.startswith("."):
                        (links if entry.is_symlink() else waiting).append(entry.path)
                elif entry.is_symlink() and (target := Path(entry.path).resolve()).is_relative_to(root):
                    if target.is_file():
                        yield Alias(entry.path, os.fspath(target))
                elif entry.is_file():
                    # DirEntry.stat lags behind on Windows; where files grow the real figures matter.
                    yield entry.path, (os.stat(entry.path) if os.name == "nt" else entry.stat())
            except FileNotFoundError:
                continue  # gone since it was listed, or a link to nothing
            except OSError as error:
                yield error
