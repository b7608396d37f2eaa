"""What every module of the suite gives: findings, one a kind of fault, as rows of one table.

A module of this package takes part by a function

    def faults(context: Context) -> Iterator[Finding]: ...

which does one kind of fault after the other. It yields a `Finding` as it begins with a kind, and may fill it in until
it is exhausted itself, so that whoever is interrupted has what was found so far. A fault of the program is told in
`Finding.failures` and never raised; what is raised ends the module, and is told as a failure of it. What this machine
can't do (no `rsync`, not root) is told in `Finding.skipped`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm


@dataclass
class Finding:
    """One row of the table."""

    what: str
    """The fault, in a few words."""
    tries: int = 0
    """Kills, messages, files, frames: what was done to the program."""
    lost: int = 0
    """Frames that nobody accounted for."""
    doubled: int = 0
    """Frames that were counted twice."""
    unbalanced: int = 0
    """Looks at the record that found a ledger out of balance."""
    failures: list[str] = field(default_factory=list)
    """What went wrong, in words."""
    skipped: str | None = None
    """Why this could not be tried here."""
    note: str = ""
    """Figures that were measured, for a reader."""
    figures: dict[str, Any] = field(default_factory=dict)
    """The same for a program, as JSON."""

    @property
    def failed(self) -> bool:
        """Whether the program did something wrong."""
        return bool(self.failures or self.lost or self.doubled or self.unbalanced)

    @property
    def verdict(self) -> str:
        """good, FAILED, or skipped."""
        return "FAILED" if self.failed else "skipped" if self.skipped is not None else "good"

    def as_json(self) -> dict[str, Any]:
        """Everything of it."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Context:
    """What a run of the suite was asked for."""

    folder: Path
    """Where modules may write; each finding makes a folder of its own in it (`room`)."""
    seed: int = 1
    kills: int = 300
    """Kills of a monitor or a worker, over all."""
    soak: int = 20_000
    """Frames of the soak."""
    messages: int = 100_000
    """Mutated messages, for each decoder."""
    files: int = 2_000
    """Mutated files, of each format."""
    stall_s: float = 30.0
    """How long a copy stalls [s]."""
    say: Callable[[str], None] = tqdm.write

    def room(self, name: str) -> Path:
        """A new, empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def bar(self, what: str, total: int) -> tqdm[Any]:
        """A progress bar, where there is a terminal."""
        return tqdm(desc=what, total=total, disable=None)


Faults = Callable[[Context], Iterator[Finding]]


def table(findings: Iterable[Finding]) -> str:
    """The findings as text, the failures in full below."""
    rows = list(findings)
    heads = ("what", "tries", "lost", "doubled", "unbalanced", "verdict", "")
    cells = [heads] + [
        (f.what, str(f.tries), str(f.lost), str(f.doubled), str(f.unbalanced), f.verdict, f.skipped or f.note)
        for f in rows
    ]
    width = [max(len(row[i]) for row in cells) for i in range(len(heads) - 1)]
    lines = []
    for number, row in enumerate(cells):
        first, *middle, verdict, note = row
        counts = "  ".join(cell.rjust(width[i]) for i, cell in enumerate(middle, 1))
        lines.append(f"{first.ljust(width[0])}  {counts}  {verdict.ljust(width[5])}  {note}".rstrip())
        if number == 0:
            lines.append("-" * len(lines[0]))
    lines += [f"\n{f.what}: {failure}" for f in rows for failure in f.failures]
    return "\n".join(lines)
