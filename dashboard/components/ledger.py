"""The ledger: where every frame that arrived went, why some were refused, and how the sources are."""

from __future__ import annotations

from html import escape

from bokeh.layouts import row
from bokeh.models import Div

from dashboard.snapshot import Ledger, Refusal, Snapshot, SourceState
from dashboard.style import STACKED, clock_time, text_sheet, widget_sheet

#: Rows of a list that are sent; the panel shows as many as there is room for, and scrolls.
_ROWS = 30


class LedgerPanel:
    """Where the frames went, in three blocks of text side by side."""

    def __init__(self) -> None:
        self.balance = _block("ledger_balance", 32, 322)
        self.refusals = _block("ledger_refusals", 42)
        self.sources = _block("ledger_sources", 26)
        self.root = row(
            self.balance, self.refusals, self.sources, name="ledger", sizing_mode="stretch_both",
            stylesheets=[widget_sheet("ledger", STACKED)],
        )  # fmt: skip

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Show the ledger as it stands; sends nothing where nothing is different."""
        for block, text in (
            (self.balance, _balance(snapshot.ledger)),
            (self.refusals, _refusals(snapshot.refusals, now)),
            (self.sources, _sources(snapshot.sources, now) + _spacings(snapshot.spacings)),
        ):
            if block.text != text:
                block.text = text


def _block(name: str, share: int, least: int = 0) -> Div:
    css = f"""
:host {{ flex: {share} 1 0 !important; min-width: {least}px; overflow: hidden auto; padding: 6px 14px; }}
:host(:not(:last-child)) {{ border-right: 1px solid var(--line); }}
"""
    return Div(name=name, text="", sizing_mode="stretch_both", margin=0, stylesheets=[text_sheet(name, css)])


def _balance(ledger: Ledger) -> str:
    terms = [("analysed", ledger.analysed, ""), ("queued", ledger.queued, "")]
    terms += [
        (name, n, "warn" if n else "")
        for name, n in (("rejected", ledger.rejected), ("dropped", ledger.dropped))
    ]
    cells = "<i>+</i>".join(f'<div class="{css}"><span>{n:,}</span>{name}</div>' for name, n, css in terms)
    beside = " · ".join(
        f'<span class="{"bad" if n and name == "lost" else "dim"}" title="{hint}">{name} {n:,}</span>'
        for name, n, hint in (
            ("ignored", ledger.ignored, "sidecars and files that are no pictures"),
            ("lost", ledger.lost, "gaps in the senders' numbers"),
            ("duplicates", ledger.duplicates, "sent again, not counted again"),
        )
    )
    reasons = "".join(
        f'<div class="clip" title="{escape(reason)}"><b>{n:,}</b> {state}: {escape(reason)}</div>'
        for state, reason, n in ledger.reasons
    )
    return (
        f'<h3>ledger <span class="beside">{beside}</span></h3>'
        f'<div class="sum"><div><span>{ledger.arrived:,}</span>arrived</div><i>=</i>{cells}</div>'
        f'<div class="reasons">{reasons}</div>'
    )


def _refusals(refusals: tuple[Refusal, ...], now: float) -> str:
    heading = "<h3>rejected and dropped, newest first</h3>"
    if not refusals:
        return f'{heading}<span class="dim">none</span>'
    rows = "".join(
        f'<tr><td class="when">{clock_time(refusal.arrived, now)[-8:]}</td>'
        f'<td class="frame clip" title="{escape(refusal.name)}">{escape(refusal.name)}</td>'
        f'<td><span class="warn">{refusal.state}</span>: {escape(refusal.reason)}</td></tr>'
        for refusal in refusals[:_ROWS]
    )
    return f'{heading}<div class="list"><table>{rows}</table></div>'


def _spacings(spacings: tuple[bool, str] | None) -> str:
    if spacings is None:
        return ""
    agrees, sentence = spacings
    css, mark = ("good", "●") if agrees else ("bad", "▲")
    return f'<h3>pixel size</h3><div><span class="{css}">{mark}</span> {escape(sentence)}</div>'


def _sources(sources: tuple[SourceState, ...], now: float) -> str:
    heading = "<h3>sources</h3>"
    if not sources:
        return f'{heading}<span class="dim">none yet</span>'
    marks = {"watching": ("good", "●"), "lost": ("bad", "✕"), "closed": ("dim", "■")}
    rows = []
    for source in sources[:_ROWS]:
        css, mark = marks.get(source.state, ("dim", "○"))
        said = f"; {escape(source.message)}" if source.message else ""
        rows.append(
            f'<tr><td class="source clip" title="{escape(source.address)}">{escape(source.address)}</td>'
            f'<td><span class="{css}">{mark} {escape(source.state)}</span>'
            f' <span class="dim">since {clock_time(source.since, now)}</span>{said}</td></tr>'
        )
    return f'{heading}<div class="list"><table>{"".join(rows)}</table></div>'
