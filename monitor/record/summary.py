"""The summary of a session as plain data; `monitor.record.summary_text` makes lines of text of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from models.results import CLASSES
from monitor.record.reader import RecordReader
from monitor.record.strata import Strata, Stratum
from monitor.statistics.compare import difference
from monitor.statistics.course import StatisticsRow
from monitor.statistics.estimate_course import estimand
from monitor.statistics.fraction import LEVEL


def summarise(session: Path) -> dict[str, Any]:
    """The session's ledger, counts, fractions, alarms and labels, running or finished.

    Raises
    ------
    NoSession
        There is no session in that folder.
    """
    with RecordReader(session) as record, record.glance():
        return summary_of(record)


def summary_of(record: RecordReader) -> dict[str, Any]:
    """The same of a record that is open."""
    sightings, last, places = record.sightings(), record.last_statistics(), record.places()
    counts = None if last is None else last.tracks
    tracks = dict(zip(CLASSES, counts, strict=True)) if counts is not None else dict(sightings)
    strata = Strata(record)
    sources = _sources(record)
    always = None if last is None or last.always_low is None else [last.always_low, last.always_high]
    return {
        "ledger": record.ledger(),
        "reasons": record.reasons(),
        "sightings": sightings,
        "tracks": tracks,
        "tracks_are_sightings": last is not None and counts is None,
        "fields": places["fields"],
        "uncounted": places["uncounted"],
        "fraction": _fraction(last, tracks["yes"] + tracks["no"], record.judged_sizes()),
        "always": always,
        "by_size": [
            {"from_nm": low, "to_nm": None if math.isinf(high) else high, **_stratum(stratum)}
            for (low, high), stratum in strata.sizes()
        ],
        "by_field": [
            {"field": None if s.key < 0 else s.key, "fields": s.parts, **_stratum(s)} for s in strata.fields()
        ],
        "labels": _labels(record),
        "alarms": [
            {
                "kind": alarm.kind,
                "since": alarm.since,
                "until": alarm.until,
                "frames": alarm.frames,
                "cause": alarm.cause,
                "severity": alarm.severity,
                "acknowledged": alarm.acknowledged,
            }
            for alarm in record.alarms()
        ],
        "pixel_size": _pixel_size(record),
        **{name: sum(source[name] for source in sources) for name in ("ignored", "lost", "duplicates")},
        "latency_ms": {name: record.latency_ms(q) for name, q in (("p50", 50), ("p95", 95), ("p99", 99))},
        "bundle": record.bundle(),
        "sources": sources,
    }


def compared(session: Path, other: Path) -> dict[str, Any]:
    """The summary of a session with `compare` in it: its fraction less that of another session, with interval.

    `difference` and `interval` are None where one of the two has no interval, and `reason` says which.

    Raises
    ------
    NoSession
        There is no session in one of the folders.
    """
    first, second = summarise(session), summarise(other)
    ours, theirs = first["fraction"], second["fraction"]
    said: dict[str, Any] = {
        "session": str(other), "fraction": theirs, "bundle": second["bundle"],
        "difference": None, "interval": None, "apart": None, "reason": None,
    }  # fmt: skip
    for path, fraction in ((session, ours), (other, theirs)):
        if fraction["interval"] is None:
            said["reason"] = f"{path} has no interval: {fraction['reason'] or 'none was recorded'}"
    if said["reason"] is None:
        ends = tuple(ours["interval"]), tuple(theirs["interval"])
        found = difference(ours["corrected"], ends[0], theirs["corrected"], ends[1])
        said |= {"difference": found.value, "interval": list(found.interval), "apart": found.apart}
    return {**first, "compare": said}


def as_json(summary: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(summary, ensure_ascii=False, allow_nan=False)


def _fraction(last: StatisticsRow | None, judged: int, sizes: tuple[float, float] | None) -> dict[str, Any]:
    interval = None if last is None or last.low is None else [last.low, last.high]
    return {
        "counted": None if last is None else last.counted,
        "corrected": None if last is None else last.corrected,
        "interval": interval,
        "level": LEVEL,
        "tracks": judged,
        "effective": None if last is None else last.effective,
        "estimand": estimand(sizes),
        "reason": None if last is None else last.reason,
    }


def _stratum(stratum: Stratum) -> dict[str, Any]:
    found = stratum.estimate
    return {
        "tracks": dict(zip(CLASSES, stratum.tracks, strict=True)),
        "counted": found.counted,
        "corrected": found.corrected,
        "interval": None if found.interval is None else list(found.interval),
        "labels": found.labels,
        "reason": found.reason,
    }


def _labels(record: RecordReader) -> dict[str, Any]:
    agreement = record.observers_agree()
    return {
        "count": len(record.labelled_tracks()),
        "waiting": record.labels_waiting(),
        "kappa": None if agreement is None else agreement.kappa,
        "kappa_interval": None if agreement is None else list(agreement.interval),
        "by_two": 0 if agreement is None else agreement.n,
    }


def _pixel_size(record: RecordReader) -> dict[str, Any] | None:
    """Whether the lattice spacings agree with the pixel size; None where they are too few to tell."""
    check = record.pixel_size_check()
    if check is None:
        return None
    found, used = check
    return {
        "used_nm": used,
        "by_spacings_nm": used / found.factor,
        "material": found.material,
        "particles": found.particles,
        "agrees": found.agrees,
        "sentence": found.sentence(used),
    }


def _sources(record: RecordReader) -> list[dict[str, Any]]:
    numbered = record.arrived_by_source()
    return [
        {
            "kind": source.kind,
            "address": source.address,
            "state": source.state,
            "message": source.message,
            # By the senders' own numbers: sent = arrived + lost. Null where nothing is numbered.
            "sent": numbered[source.id] + source.lost if source.id in numbered else None,
            "arrived": numbered.get(source.id),
            "lost": source.lost,
            "duplicates": source.duplicates,
            "ignored": source.ignored,
        }
        for source in record.sources()
    ]
