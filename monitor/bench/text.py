"""A benchmark as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.bench.browser import SIDE
from monitor.bench.scripts import PARTS

NOT_INSTALLED = "not installed"


def _number(value: float | None, missing: str = "–") -> str:
    if value is None:
        return missing
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first left and the others right aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def as_text(told: Mapping[str, Any]) -> str:
    """What `Found.told` tells."""
    parts = [_head(told), *([_stages(told), _sessions(told), _instead(told)] if told["sizes"] else [])]
    parts.append(_browser(told["browser"]))
    parts.append(_bars(told))
    if not told["complete"]:
        parts.append("It was ended before everything was measured: the figures are of what was.")
    return "\n\n".join(parts)


def _head(told: Mapping[str, Any]) -> str:
    machine, peaks = told["machine"], told["peaks"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} thread(s) a process; "
        f"processes that wanted a core: {machine['load_before']} before, {machine['load_after']} after",
        f"stages in {machine['clock']} time, sessions by the clock on the wall",
    ]
    if told["bundle"]:
        lines.append(f"bundle {told['bundle']['id']}, network by {told['bundle']['backend']}")
    if peaks is not None:
        lines.append(
            f"float32 GEMM {peaks['float32_gemm_flop_per_s'] / 1e9:.0f} GFLOP/s "
            f"(median {peaks['float32_gemm_median_flop_per_s'] / 1e9:.0f}), "
            f"memory {peaks['memory_bytes_per_s'] / 1e9:.1f} GB/s "
            f"(median {peaks['memory_median_bytes_per_s'] / 1e9:.1f})"
        )
    return "\n".join(lines)


def _stages(told: Mapping[str, Any]) -> str:
    sizes = told["sizes"]
    rows = [["median ms (floor)", *(f"{size['side']}²" for size in sizes)]]
    rows += [
        [
            stage,
            *(
                f"{_number(size['stages'][stage]['median_ms'])} ({_number(size['stages'][stage]['floor_ms'])})"
                for size in sizes
            ),
        ]
        for stage in sizes[0]["stages"]
    ]
    for name, key in (
        ("whole chain", "chain_ms"),
        ("bare network", "bare_network_ms"),
        ("chain of bare network", "chain_of_bare_network"),
        ("chain, on the wall", "chain_wall_ms"),
        ("particles", "particles"),
        ("ms a particle", "a_particle_ms"),
        ("published features", "published_features_ms"),
    ):
        rows.append([name, *(_number(size[key]) for size in sizes)])
    memory = [size["peak_memory_bytes"] for size in sizes]
    rows.append(["peak memory [MB]", *(_number(None if m is None else m / 1e6) for m in memory)])
    for name, key in (
        ("eight bits, Dice to float32", "to_float32"),
        ("eight bits, Dice to the truth", "to_truth"),
        ("float32, Dice to the truth", "float32_to_truth"),
    ):
        figures = [size["eight_bits_dice"] for size in sizes]
        rows.append([name, *("–" if told is None else f"{told[key]:.4f}" for told in figures)])
    rows.append(["samples", *(str(size["samples"]) for size in sizes)])
    return table(rows)


def _sessions(told: Mapping[str, Any]) -> str:
    rows = [["file closed to committed [ms]", *(f"{size['side']}²" for size in told["sizes"])]]
    for kind in ("directory", "socket"):
        for key in ("p50_ms", "p95_ms", "p99_ms", "compute_ms"):
            rows.append(
                [
                    f"{kind}, {key.removesuffix('_ms')}",
                    *(_number((size["delay"][kind] or {}).get(key)) for size in told["sizes"]),
                ]
            )
    rows.append(["session, frames/s", *(_number(size["session_frames_per_s"]) for size in told["sizes"])])
    return table(rows)


def _browser(page: Mapping[str, Any]) -> str:
    if not page["frames"]:
        return f"in a browser: {page['why_not']}"
    rows = [[f"in a browser, {page['frames']} frames of {SIDE}² [ms]", "p50", "p95", "p99"]]
    for name, key in (
        ("file closed to pixels changed", "closed_to_changed"),
        ("the same, beyond compute", "beyond_compute"),
        ("of it the page: committed to pixels changed", "committed_to_changed"),
    ):
        rows.append([name, *(_number(page[key][each]) for each in ("p50_ms", "p95_ms", "p99_ms"))])
    return table(rows)


def _instead(told: Mapping[str, Any]) -> str:
    rows = [["what would be written instead [ms]", *(f"{size['side']}²" for size in told["sizes"])]]
    for part, library in PARTS.items():
        cells = (_number(size["instead_ms"][part], NOT_INSTALLED) for size in told["sizes"])
        rows.append([f"{part}, {library}", *cells])
    rows.append(["together", *(_number(size["instead_total_ms"]) for size in told["sizes"])])
    return table(rows)


def _bars(told: Mapping[str, Any]) -> str:
    if not told["bars"]:
        return "No bar is meant for frames of these sizes."
    rows = [["bar", "frame", "measured", "is to be", "", ""]]
    for bar in told["bars"]:
        verdict = {True: "met", False: "NOT met", None: "not measured"}[bar["met"]]
        goal = "" if bar["goal"] is None else f"goal {_number(bar['goal'])}"
        limit = f"{bar['is_to_be']} {_number(bar['bar'])} {bar['unit']}".rstrip()
        rows.append([bar["what"], f"{bar['side']}²", _number(bar["value"]), limit, verdict, goal])
    return table(rows)
