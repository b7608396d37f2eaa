"""The interface of a source: frame refs until it is closed, and its status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from monitor.frames import FrameRef


@dataclass
class SourceStatus:
    """The status of a source; written by the source, read by the session."""

    state: Literal["watching", "lost", "closed"] = "watching"
    message: str | None = None
    """A sentence for the operator, where the state needs one."""
    ready: bool = False
    """It has found what was there when it was opened."""
    busy: bool = False
    """Something is growing or unsettled."""
    duplicates: int = 0
    """Frames that were sent again."""
    copies: dict[str, str] = field(default_factory=dict)
    """Of a directory: files that show again what another file shows, with that other file."""
    ignored: int = 0
    """Sidecars, files that are no pictures, messages that are no frames."""


class Source(Protocol):
    """Where frames come from."""

    kind: str
    """directory, pull, sub, ack, dectris, replay, list"""
    address: str
    """What names it within a session, the same at every start."""
    renames: bool
    """Its files can be renamed by somebody else."""
    status: SourceStatus

    def open(self, known: Iterable[FrameRef]) -> None:
        """Make ready; from here on nothing is missed that can be had.

        Parameters
        ----------
        known
            What the record holds of this source already, in order of arrival.

        Raises
        ------
        InputError
            There is nothing that can be opened.
        """

    def refs(self) -> Iterator[FrameRef]:
        """Frames as they come, until the source is closed or has no more. Runs in a thread of its own.

        What is announced twice is recorded once, so in doubt a source announces.
        """

    def close(self) -> None:
        """Let `refs` end soon. Can be called from any thread, and twice."""
