"""The summary of a session, as JSON and as text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from models.results import CLASSES
from monitor.record import RecordReader
from monitor.statistics.estimate_course import ESTIMAND
from monitor.statistics.fraction import LEVEL


def summarise(session: Path) -> dict[str, Any]:
    """The session's ledger, counts and fraction, running or finished.

    Raises
    ------
    NoSession
        There is no session in that folder.
    """
    with RecordReader(session) as record, record.glance():
        sources = record.sources()
        numbered = record.arrived_by_source()
        sightings = record.sightings()
        last = record.last_statistics()
        latencies = record.latencies_ms()
        interval = None if last is None or last.low is None else [last.low, last.high]
        places = record.places()
        counts = None if last is None else last.tracks
        tracks = dict(zip(CLASSES, counts, strict=True)) if counts is not None else dict(sightings)
        return {
            "ledger": record.ledger(),
            "reasons": record.reasons(),
            "sightings": sightings,
            "tracks": tracks,
            "tracks_are_sightings": last is not None and counts is None,
            "fields": places["fields"],
            "uncounted": places["uncounted"],
            "fraction": {
                "counted": None if last is None else last.counted,
                "corrected": None if last is None else last.corrected,
                "interval": interval,
                "level": LEVEL,
                "tracks": tracks["yes"] + tracks["no"],
                "effective": None if last is None else last.effective,
                "estimand": ESTIMAND,
            },
            "ignored": sum(source.ignored for source in sources),
            "lost": sum(source.lost for source in sources),
            "duplicates": sum(source.duplicates for source in sources),
            "latency_ms": {
                name: percentile(latencies, q) for name, q in (("p50", 50), ("p95", 95), ("p99", 99))
            },
            "bundle": record.bundle(),
            "sources": [
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
                for source in sources
            ],
        }


def percentile(ordered: list[float], q: float) -> float | None:
    """The value that q percent of an ordered list do not exceed (nearest rank); None of nothing."""
    return ordered[max(0, math.ceil(q / 100 * len(ordered)) - 1)] if ordered else None


def as_json(summary: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(summary, ensure_ascii=False, allow_nan=False)


def as_text(summary: dict[str, Any]) -> str:
    """Lines of text."""
    ledger, fraction, latency = summary["ledger"], summary["fraction"], summary["latency_ms"]
    lines = [
        "ledger      {arrived} arrived = {analysed} analysed + {queued} queued + {rejected} rejected "
        "+ {dropped} dropped".format(**ledger),
        "beside it   {ignored} ignored, {lost} lost, {duplicates} duplicates".format(**summary),
    ]
    lines += [f"  {count:6d} × {reason}" for reason, count in summary["reasons"].items()]
    for source in summary["sources"]:
        message = f" ({source['message']})" if source["message"] else ""
        lines.append(f"source      {source['address']}: {source['state']}{message}")
        if source["sent"] is not None:
            lines.append("            {sent} sent = {arrived} arrived + {lost} lost".format(**source))
    counts = ", ".join(f"{count} {name}" for name, count in summary["sightings"].items())
    lines.append(f"sightings   {counts}")
    if summary["tracks_are_sightings"]:
        lines.append("tracks      not followed: an older version wrote this record, and each sighting counts")
    else:
        counts = ", ".join(f"{count} {name}" for name, count in summary["tracks"].items())
        lines.append(f"tracks      {counts} (each particle once), in {summary['fields'] or 0} fields")
    lines += [f"  {count:6d} frames not counted: {why}" for why, count in summary["uncounted"].items()]
    lines.append(f"fraction    {fraction_text(fraction)}")
    lines.append(f"            {fraction['estimand']}")
    if latency["p50"] is not None:
        lines.append("delay       {p50:.0f} ms median, {p95:.0f} ms p95, {p99:.0f} ms p99".format(**latency))
    lines.append(f"bundle      {summary['bundle'] or 'none was loaded'}")
    return "\n".join(lines)


def fraction_text(fraction: dict[str, Any]) -> str:
    """The fraction of visible faults in a sentence."""
    if fraction["counted"] is None:
        return "none yet: no particle in which a fault could be seen"
    text = f"{fraction['counted']:.1%} counted, of {fraction['tracks']} tracks in which a fault could be seen"
    if fraction["effective"] is not None and round(fraction["effective"]) < fraction["tracks"]:
        text += f" (worth {fraction['effective']:.0f} independent ones)"
    if fraction["corrected"] is None:
        return text + "; not corrected, the bundle does not say how often it errs"
    text += f"; {fraction['corrected']:.1%} corrected for how often the bundle errs"
    if fraction["interval"] is not None:
        low, high = fraction["interval"]
        text += f", {fraction['level']:.0%} interval {low:.1%} to {high:.1%}"
    return text
