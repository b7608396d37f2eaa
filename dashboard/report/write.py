"""`faultwatch report`: a session as one HTML file."""

from __future__ import annotations

from pathlib import Path

from dashboard.report.facts import read_facts
from dashboard.report.montage import montage
from dashboard.report.page import render
from monitor.errors import InputError
from monitor.record import RecordReader
from monitor.record.whole_file import whole_file


def write_report(session: Path, to: Path) -> int:
    """Write the report of a session, running or finished; returns its size [bytes].

    A file that is there already is replaced when the new one is whole.

    Raises
    ------
    NoSession
        There is no session in that folder, or its record is damaged.
    InputError
        The name does not end in .html, or the file can't be written.
    """
    if to.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{to}: a report is written as .html", path=to)
    with RecordReader(session) as record, record.glance():
        facts = read_facts(record)
        shown = montage(record, facts.particles, facts.counts_tracks)
    # A name from a file system may hold half characters, which no text can.
    page = render(facts, shown).encode("utf-8", "replace")
    with whole_file(to) as part:
        part.write_bytes(page)
    return len(page)
