"""`faultwatch verify`: the kept frames of a session analysed again, and compared with what was recorded."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from monitor.errors import InputError
from monitor.frames import MovieMode, content_hash
from monitor.outcomes import FinishedFrame, Outcome, RejectedFrame
from monitor.record import Recorded, RecordReader
from monitor.workers.agreement import OVERLAP, TOLERANCE, Agreement, compare, tolerance_of
from monitor.workers.worker import Ready, Start, Task, run, start

#: What a shell reports of a program ended by Ctrl-C.
_INTERRUPTED = 130

#: Frames that are told of one by one, in text; all of them are in the JSON.
_TOLD = 20


@dataclass(frozen=True)
class Checked:
    """What became of one analysed frame."""

    frame_id: int
    path: Path
    index: int | None
    what: str
    """agree, differ, gone (its file), or changed (its file, since it was recorded)."""
    agreement: Agreement | None = None

    def as_record(self) -> dict[str, Any]:
        """As the JSON tells it."""
        said = [] if self.agreement is None else list(self.agreement.differences)
        return {
            "frame_id": self.frame_id,
            "frame": _shown(self.path),
            "index": self.index,
            "what": self.what,
            "differences": said,
        }


@dataclass
class Findings:
    """What was found so far."""

    ledger: dict[str, int]
    analysed: int
    """Frames that have a result, all of which are looked at if nobody stops it."""
    counts: Counter[str] = field(default_factory=Counter)
    particles: int = 0
    """That were there both times."""
    largest: float = 0.0
    pairs: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """Frames by bundle and backend then, and bundle and backend now."""
    not_agreeing: list[Checked] = field(default_factory=list)
    complete: bool = False

    @property
    def compared(self) -> int:
        """Frames whose file is there as it was."""
        return self.counts["agree"] + self.counts["differ"]

    def add(self, checked: Checked) -> None:
        """Count one more frame."""
        self.counts[checked.what] += 1
        if checked.agreement is not None:
            self.particles += checked.agreement.matched
            self.largest = max(self.largest, checked.agreement.largest)
        if checked.what != "agree":
            self.not_agreeing.append(checked)


def verify(
    session: Path,
    *,
    bundle: Path | None = None,
    device: str = "auto",
    threads: int = 1,
    as_json: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Analyse the kept frames of a session again and compare; writes nothing but to `out` and `err`.

    Parameters
    ----------
    bundle
        The model to judge with; None: the one that judged each frame.
    threads
        That may be used.

    Returns
    -------
    int
        0 where everything that could be compared agrees, 1 where something differs, 130 after Ctrl-C, which
        tells what was found so far.

    Raises
    ------
    NoSession
        There is no session in that folder.
    InputError
        A bundle that judged is no longer where it was; the sentence tells what to give.
    models.errors.ModelError
        A bundle can't be loaded.
    """
    out, err = out or sys.stdout, err or sys.stderr
    with RecordReader(session) as record:
        numbers = record.analysed()
        findings = Findings(record.ledger(), len(numbers))
        try:
            with _Bar(len(numbers), err) as step:
                for checked in _checked(record, numbers, _Judge(record, bundle, device, threads), findings):
                    findings.add(checked)
                    step()
            findings.complete = True
        except KeyboardInterrupt:
            pass
    print(json.dumps(as_record(findings), allow_nan=False) if as_json else as_text(findings), file=out)
    if findings.counts["differ"]:
        print(
            f"faultwatch: {findings.counts['differ']} of {findings.compared} frames that could be compared "
            "differ from what was recorded",
            file=err,
        )
    if not findings.complete:
        return _INTERRUPTED
    return 1 if findings.counts["differ"] else 0


def as_record(findings: Findings) -> dict[str, Any]:
    """The findings as `--json` prints them."""
    return {
        "complete": findings.complete,
        "frames": {
            "analysed": findings.analysed,
            "compared": findings.compared,
            **{what: findings.counts[what] for what in ("agree", "differ", "gone", "changed")},
            **{state: findings.ledger[state] for state in ("rejected", "dropped", "queued")},
        },
        "particles": findings.particles,
        "largest_difference": findings.largest,
        "tolerance": TOLERANCE,
        "judged": [
            {
                "frames": count,
                "then": {"bundle": bundle, "backend": backend},
                "now": {"bundle": bundle_now, "backend": backend_now},
                "exactly": tolerance_of((bundle, backend), (bundle_now, backend_now)) == 0,
            }
            for (bundle, backend, bundle_now, backend_now), count in findings.pairs.items()
        ],
        "not_agreeing": [checked.as_record() for checked in findings.not_agreeing],
    }


def as_text(findings: Findings) -> str:
    """The findings for a person."""
    counts, ledger = findings.counts, findings.ledger
    lines = [
        f"compared    {findings.compared} of {findings.analysed} analysed frames: {counts['agree']} agree, "
        f"{counts['differ']} differ",
        f"not kept    {counts['gone']} gone, {counts['changed']} changed since",
        f"no result   {ledger['rejected']} rejected, {ledger['dropped']} dropped, {ledger['queued']} queued",
    ]
    if findings.compared:
        lines.append(
            f"particles   {findings.particles} there both times; probabilities differ by "
            f"{findings.largest:.3g} at most"
        )
    for (bundle, backend, bundle_now, backend_now), count in findings.pairs.items():
        if tolerance_of((bundle, backend), (bundle_now, backend_now)) == 0:
            lines.append(f"judged      {count} by {bundle} on {backend}, exactly to be the same")
        else:
            lines.append(
                f"judged      {count} by {bundle} on {backend} then, {bundle_now} on {backend_now} now, to be "
                f"the same within {TOLERANCE:g} of a probability, boxes with an overlap of {OVERLAP:g}"
            )
    for checked in findings.not_agreeing[:_TOLD]:
        where = _shown(checked.path) + (f" [{checked.index}]" if checked.index else "")
        said = () if checked.agreement is None else checked.agreement.differences
        lines.append(f"{checked.what:12s}{where}")
        lines += [f"            {sentence}" for sentence in said[:_TOLD]]
    if len(findings.not_agreeing) > _TOLD:
        lines.append(f"            and {len(findings.not_agreeing) - _TOLD} more; --json tells all")
    if not findings.complete:
        looked = findings.counts.total()
        lines.append(f"stopped after {looked} of {findings.analysed} frames; the others were not looked at")
    elif not findings.compared:
        lines.append("nothing could be compared: no file of an analysed frame is there as it was")
    return "\n".join(lines)


def _checked(
    record: RecordReader, numbers: list[int], judge: _Judge, findings: Findings
) -> Iterator[Checked]:
    for number in numbers:
        recorded = record.recorded(number)
        if recorded is None:
            continue  # taken again meanwhile: the session is running
        yield _check(recorded, judge, findings)


def _check(recorded: Recorded, judge: _Judge, findings: Findings) -> Checked:
    frame = recorded.frame

    def checked(what: str, agreement: Agreement | None = None) -> Checked:
        return Checked(frame.id, frame.path, frame.index, what, agreement)

    touched = _touched(recorded)
    if touched is None:
        return checked("gone")
    ready, outcome = judge(recorded)
    if isinstance(outcome, RejectedFrame) and outcome.gone:
        return checked("gone")
    if touched and not _same_content(recorded, outcome):
        return checked("changed")
    then = (recorded.bundle, recorded.backend)
    if isinstance(outcome, RejectedFrame):
        now = None
        agreement = Agreement(0, 0.0, (f"it can't be analysed now: {outcome.reason}",))
    else:
        now = (ready.bundle, outcome.analysis.backend)
        agreement = compare(recorded, outcome.analysis, tolerance_of(then, now))
    if agreement.differences and not touched and not _same_content(recorded, outcome):
        return checked("changed")  # by something that keeps size and time
    if now is not None:
        findings.pairs[*then, *now] += 1
    return checked("differ" if agreement.differences else "agree", agreement)


def _touched(recorded: Recorded) -> bool | None:
    """Whether the frame's file has another size or time than when it was taken in; None: it is gone."""
    try:
        figures = recorded.frame.path.stat()
    except OSError:
        return None
    return (figures.st_size, figures.st_mtime_ns) != (
        recorded.frame.file_size,
        recorded.frame.file_mtime_ns,
    )


def _same_content(recorded: Recorded, outcome: Outcome) -> bool:
    """Whether its bytes or its pixels are those that were taken in (a stack that grew keeps its frames)."""
    known = recorded.frame.content
    if known is None:
        return False
    if isinstance(outcome, FinishedFrame) and known == outcome.pixels:
        return True
    try:
        return content_hash(recorded.frame.path) == known
    except OSError:
        return False


class _Judge:
    """Analyses frames as a worker of the session would, with the bundle that judged each."""

    def __init__(self, record: RecordReader, bundle: Path | None, device: str, threads: int) -> None:
        self._record = record
        self._given = bundle
        self._device = device
        self._threads = threads
        settings = json.loads(record.meta().get("settings", "{}"))
        # As it was before there was a choice; what was not chosen is kept as null.
        self._movie: MovieMode = settings.get("movie", "frames") or "sum"
        self._ready: Ready | None = None
        if bundle is not None:
            self._ready = self._start(bundle)

    def __call__(self, recorded: Recorded) -> tuple[Ready, Outcome]:
        ready = self._ready
        if ready is None or (self._given is None and ready.bundle != recorded.bundle):
            ready = self._ready = self._start(self._find(recorded.bundle))
        # By the pixel size that was used: with which options the session ran at that time does not matter.
        task = Task(
            recorded.frame.id, recorded.frame.revision, recorded.frame.ref,
            None, recorded.pixel_size_nm, recorded.material, self._movie,
        )  # fmt: skip
        return ready, run(task)

    def _start(self, bundle: Path | None) -> Ready:
        return start(Start(bundle, self._device, self._threads))

    def _find(self, bundle: str) -> Path | None:
        """Where a bundle lies: where it did, or it is the one that is shipped (None)."""
        from models.bundle import describe
        from models.errors import ModelError

        where = self._record.bundle_path(bundle)
        for path in (where, None):
            try:
                if describe(path)[0] == bundle:
                    return path
            except ModelError:
                continue
        raise InputError(
            f"the bundle {bundle} that judged is no longer at {where}; give --bundle the folder where it is, "
            "or another one to compare with",
            path=self._record.folder,
        )


def _shown(path: Path) -> str:
    """A path as text that can be printed, whatever its name."""
    return str(path).encode("utf-8", "replace").decode()


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, total: int, err: TextIO) -> None:
        self._bar: Any = None
        if total > 1 and err.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="frame", file=err, leave=False)

    def __enter__(self) -> Callable[[], None]:
        return self._step

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _step(self) -> None:
        if self._bar is not None:
            self._bar.update()
