"""Settings of the session: those that can be changed while it runs, what was changed, and the others to be read."""

from __future__ import annotations

import json
from html import escape

from bokeh.models import Div

from dashboard.asking import Asking
from dashboard.components.audit import AuditPanel
from dashboard.components.fraction import GOAL
from dashboard.force import InForce
from dashboard.snapshot import Snapshot
from dashboard.style import clock_time, text_sheet
from dashboard.view import RecordView
from models.features.measure import LAYER_FREQUENCIES
from monitor.record.changes import BUNDLE, GATE_KINDS, SETTING, Change

_WORDS = {
    "abstain_below": "abstaining threshold",
    "not_counted": "quality gate",
    "goal": "goal",
    "material": "material",
    BUNDLE: "who judges",
}
_EXPLAINED = {
    "abstain_below": "A particle whose likeliest class has a lower probability is marked as too close to call. Empty: "
    "the bundle's own. Only the marks in frames to come change by it: the fraction goes on with the bundle's own "
    "threshold, for which its errors were measured.",
    "not_counted": "Particles of frames that such an alarm concerns are shown and not counted. Frames that repeat "
    "another one, or are overexposed, never count.",
    "goal": "Half width of the interval at which to stop, for all who look at this session.",
    "material": "Which layers are looked for in frames to come.",
}
#: Settings of `WatchSettings` that the page does not show: they say where, not how.
_NOT_SHOWN = ("curve_server_key", "material")


class SettingsPanel:
    """One viewer's settings. Who changes them is known from the audit: all have one field for the name."""

    def __init__(self, view: RecordView, asking: Asking, audit: AuditPanel) -> None:
        self._view = view
        self._asking = asking
        self._audit = audit
        self._said = ""
        self._now = 0.0
        self.root = Div(name="settings", text="", sizing_mode="stretch_both", margin=0)
        self.root.stylesheets = [text_sheet("settings", ":host { overflow: hidden auto; }")]
        asking.on("settings-set", self._set)
        asking.on("settings-refresh", lambda _value: self._draw())

    def update(self, _snapshot: Snapshot, now: float) -> None:
        """Show the settings in force; sends nothing where nothing is different."""
        self._now = now
        self._draw()

    def _set(self, value: str) -> None:
        """JSON: `name` and `value`."""
        try:
            told = json.loads(value)
            name, wanted = told["name"], told["value"]
        except (ValueError, KeyError, TypeError):
            return
        if not self._audit.observer:
            self._said = "Give your name first: changes are kept with it."
            self._draw()
            return

        def answered(_accepted: bool | None, said: str) -> None:
            self._said = f"{_WORDS.get(str(name), str(name))}: {said}"
            self._draw()

        self._said = "asked …"
        arguments = {"name": name, "value": wanted, "observer": self._audit.observer}
        self._asking.command(SETTING, arguments, answered)
        self._draw()

    def _draw(self) -> None:
        force = self._view.in_force()
        text = (
            '<p class="dim">no session yet</p>'
            if force is None
            else settings_text(force, self._said, self._now)
        )
        if text != self.root.text:
            self.root.text = text


def settings_text(force: InForce, said: str, now: float) -> str:
    """The settings as HTML."""
    rows = "".join(_row(name, field) for name, field in _fields(force).items())
    history = "".join(_changed(change, now) for change in reversed(force.changes))
    status = f'<p class="said" role="status">{escape(said)}</p>' if said else ""
    return (
        f"<h3>can be changed now</h3>{status}{rows}"
        f"<h3>changed so far</h3>{f'<ul>{history}</ul>' if history else '<p class=dim>nothing</p>'}"
        f"<h3>fixed until the session is begun again</h3>{_fixed(force)}"
    )


def _fields(force: InForce) -> dict[str, str]:
    """The fields of the settings that can be changed."""
    own = "" if force.own_abstain_below is None else f"{force.own_abstain_below:g}"
    limit = "" if force.abstain_below is None else f"{force.abstain_below:g}"
    goal = GOAL if force.goal is None else round(100 * force.goal)
    kinds = "".join(
        f'<label><input type="checkbox" value="{kind}"{" checked" if kind in force.not_counted else ""}> '
        f"{kind}</label>"
        for kind in GATE_KINDS
    )
    materials = "".join(
        f'<option value="{escape(name)}"{" selected" if name == (force.material or "") else ""}>'
        f"{escape(name) or 'all that are known'}</option>"
        for name in ("", *LAYER_FREQUENCIES)
    )
    number = '<input type="number" id='
    return {
        "abstain_below": f'{number}"set-abstain_below" min="0.25" max="1" step="0.01" value="{limit}" '
        f'placeholder="{own}" aria-label="abstaining threshold">',
        "not_counted": f'<span id="set-not_counted" class="kinds">{kinds}</span>',
        "goal": f'± {number}"set-goal" min="1" max="50" step="1" value="{goal}" aria-label="goal [%]"> %',
        "material": f'<select id="set-material" aria-label="material">{materials}</select>',
    }


def _row(name: str, field: str) -> str:
    return (
        f'<div class="setting"><b>{_WORDS[name]}</b> {field} '
        f'<button data-setting="{name}" aria-label="set: {_WORDS[name]}">set</button>'
        f'<div class="dim">{_EXPLAINED[name]}</div></div>'
    )


def _changed(change: Change, now: float) -> str:
    since = "from the first frame on" if change.after is None else f"after frame {change.after[1]}"
    return (
        f"<li>{clock_time(change.at, now)} · <b>{escape(_WORDS.get(change.name, change.name))}</b> "
        f"{escape(_value(change))} · {since} · {escape(change.observer)}</li>"
    )


def _value(change: Change) -> str:
    value = change.value
    if change.name == BUNDLE:
        return str(value["id"])
    if change.name == "goal":
        return f"± {100 * value:.0f} %"
    if change.name == "not_counted":
        return ", ".join(value) or "counts every frame"
    if value is None:
        return "the bundle's own" if change.name == "abstain_below" else "all that are known"
    return str(value)


def _fixed(force: InForce) -> str:
    rows = "".join(
        f"<tr><td>--{escape(name.replace('_', '-'))}</td><td>{escape(_shown(value))}</td></tr>"
        for name, value in sorted(force.begun_with.items())
        if name not in _NOT_SHOWN
    )
    return (
        "<p class=dim>Each is an option of <code>faultwatch watch</code>, a variable <code>FAULTWATCH_NAME</code>, or "
        "a line of <code>faultwatch.toml</code>. End the session and begin it again with the same "
        "<code>--session</code>.</p>"
        f'<table class="fixed">{rows}</table>'
    )


def _shown(value: object) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
