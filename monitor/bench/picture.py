"""A benchmark as a picture: the stages of every size stacked beside the bare network and the floors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor.bench.text import as_text

COLOURS = (
    "#9aa5b1",
    "#4c78a8",
    "#f58518",
    "#54a24b",
    "#e45756",
    "#72b7b2",
    "#b279a2",
    "#eeca3b",
    "#ff9da6",
    "#2f3b47",
)


def draw_picture(told: Mapping[str, Any], path: Path) -> None:
    """Write what `Found.told` tells as a PNG.

    Raises
    ------
    OSError
        It can't be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = [size for size in told["sizes"] if size["chain_ms"]]
    figure, axes = pyplot.subplots(
        1, max(1, len(sizes)), figsize=(2.2 + 2.6 * max(1, len(sizes)), 5.2), squeeze=False
    )
    for axis, size in zip(axes[0], sizes, strict=False):
        stages = size["stages"]
        for column, key in enumerate(("median_ms", "floor_ms")):
            bottom = 0.0
            for colour, (stage, times) in zip(COLOURS, stages.items(), strict=True):
                value = times[key] or 0.0
                axis.bar(column, value, bottom=bottom, color=colour, label=stage if column == 0 else None)
                bottom += value
        axis.axhline(size["bare_network_ms"], color="#1d242c", linestyle="--", linewidth=1)
        axis.set_xticks((0, 1), ("chain", "floor"))
        axis.set_title(f"{size['side']}², {size['particles']:g} particles")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("ms a frame (dashed: the bare network)")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="center right", frameon=False)
    figure.suptitle(as_text(told).splitlines()[0], fontsize=8)
    figure.tight_layout(rect=(0, 0, 0.9, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
