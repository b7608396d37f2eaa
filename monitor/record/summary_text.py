"""The summary of a session as lines of text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def as_text(summary: dict[str, Any]) -> str:
    """Lines of text."""
    ledger, latency = summary["ledger"], summary["latency_ms"]
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
    lines += [*_counts(summary), *_fractions(summary)]
    if "compare" in summary:
        lines += _compared(summary["compare"])
    lines += [_alarm(alarm) for alarm in summary["alarms"]]
    if summary["pixel_size"] is not None:
        lines.append(f"pixel size  {summary['pixel_size']['sentence']}")
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
        return f"{text}; not corrected: {fraction['reason'] or 'the bundle does not say how often it errs'}"
    text += f"; {fraction['corrected']:.1%} corrected for how often the bundle errs"
    if fraction["interval"] is not None:
        low, high = fraction["interval"]
        text += f", {fraction['level']:.0%} interval {low:.1%} to {high:.1%}"
    return text


def size_text(from_nm: float, to_nm: float | None) -> str:
    """A range of diameters in words."""
    return f"from {from_nm:g} nm" if to_nm is None else f"{from_nm:g} to {to_nm:g} nm"


def _counts(summary: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {name}" for name, count in summary["sightings"].items())
    lines = [f"sightings   {counts}"]
    if summary["tracks_are_sightings"]:
        lines.append("tracks      not followed: an older version wrote this record, and each sighting counts")
    else:
        counts = ", ".join(f"{count} {name}" for name, count in summary["tracks"].items())
        lines.append(f"tracks      {counts} (each particle once), in {summary['fields'] or 0} fields")
    return lines + [f"  {count:6d} frames not counted: {why}" for why, count in summary["uncounted"].items()]


def _fractions(summary: dict[str, Any]) -> list[str]:
    fraction = summary["fraction"]
    lines = [f"fraction    {fraction_text(fraction)}", f"            {fraction['estimand']}"]
    if summary["always"] is not None:
        low, high = summary["always"]
        lines.append(f"always      {low:.1%} to {high:.1%} (holds at every look)")
    sizes = summary["by_size"]
    lines += [
        _part(size_text(one["from_nm"], one["to_nm"]), "by size", one, not i) for i, one in enumerate(sizes)
    ]
    told = [one["corrected"] for one in summary["by_field"] if one["corrected"] is not None]
    if len(told) > 1:
        lines.append(f"by field    {min(told):.1%} to {max(told):.1%} corrected; each field in --json")
    labels = summary["labels"]
    if labels["count"] or labels["waiting"]:
        kappa = (
            "" if labels["kappa"] is None else ", κ {kappa:.2f} of two observers on {by_two}".format(**labels)
        )
        lines.append(
            "labels      {count} tracks, {waiting} drawn and not labelled yet".format(**labels) + kappa
        )
    return lines


def _part(name: str, title: str, part: dict[str, Any], first: bool) -> str:
    judged = part["tracks"]["yes"] + part["tracks"]["no"]
    text = f"{title if first else '':11s} {name}: {part['tracks']['yes']} of {judged} tracks"
    if part["interval"] is None:
        return f"{text}; {part['reason'] or 'not corrected'}"
    low, high = part["interval"]
    return f"{text}; {part['corrected']:.1%} corrected, {low:.1%} to {high:.1%}"


def _compared(other: dict[str, Any]) -> list[str]:
    lines = [f"beside it   {other['session']}: {fraction_text(other['fraction'])}"]
    if other["difference"] is None:
        return [*lines, f"difference  none: {other['reason']}"]
    low, high = other["interval"]
    word = "the two differ" if other["apart"] else "the interval holds 0"
    return [*lines, f"difference  {other['difference']:+.1%}, 95% interval {low:+.1%} to {high:+.1%}: {word}"]


def _alarm(alarm: dict[str, Any]) -> str:
    since = "" if alarm["since"] is None else f" since {_time(alarm['since'])}"
    until = ", lasts" if alarm["until"] is None else f" until {_time(alarm['until'])}"
    return f"alarm       {alarm['kind']}{since}{until}, {alarm['frames']} frames: {alarm['cause']}"


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):  # a camera's clock may say anything
        return f"{at:g} s"
