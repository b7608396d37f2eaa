"""The HTML of one particle's tab: facts, pictures with what was read from them, what counted, the track."""

from __future__ import annotations

import base64
from html import escape

from dashboard.components.particle_svg import SPECTRUM_PER_NM, crop_overlay, profile, spectrum_overlay
from dashboard.crops import crop_box
from dashboard.explaining import Told
from dashboard.inspecting import Inspected, Said
from dashboard.style import CLASS_STYLES, SHOWN_ORDER, clock_time
from models.explain.explanation import Explanation, Spot, layer_told
from models.results import CLASSES
from monitor.workers.explained import Explained, NotExplained

KINDS = {
    "I1": "intrinsic fault I1",
    "I2": "intrinsic fault I2",
    "E": "extrinsic fault",
    "twin": "twin",
    "intrinsic": "intrinsic fault",
    "extrinsic": "extrinsic fault",
}
#: A material is indexed where it is given; else so many lines that a spot may be are told.
MAY_BE = 2
_BARS_NM = (0.5, 1, 2, 5, 10, 20)


def nothing(gone: bool) -> str:
    """What stands in the tab while no particle is selected.

    Parameters
    ----------
    gone : one is, and the record does not have it any more.
    """
    said = "The frame was analysed anew, and this particle is not in it any more. " if gone else ""
    return (
        f'<p class="empty">{said}Click on a particle in the frame, or press an arrow key: '
        "<kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> go from one particle to the next, <kbd>Esc</kbd> clears.</p>"
    )


def facts(shown: Inspected, now: float) -> str:
    """Class, probabilities, size, and what people said."""
    style = CLASS_STYLES[shown.particle_class]
    doubt = '<span class="warn">too close to call</span>' if shown.abstained else ""
    said = "".join(_said(each, now) for each in shown.said)
    bars = "".join(
        f'<div class="bar" role="img" aria-label="probability of {name}: {p:.0%}"><span>{name}</span>'
        f'<i><b style="width: {100 * p:.1f}%; background: {CLASS_STYLES[name].colour}"></b></i>'
        f"<span>{p:.0%}</span></div>"
        for name in SHOWN_ORDER
        for p in [shown.probabilities[CLASSES.index(name)]]
    )
    return (
        f'<div class="head"><span class="badge" style="background: {style.colour}">{style.letter}</span>'
        f"<b>{shown.particle_class}</b> {escape(style.words)} {doubt}"
        f'<span class="dim">frame {shown.frame.frame_id:,}, particle {shown.label}</span>'
        '<button data-ask="particle-clear" data-value="" class="clear"><kbd>Esc</kbd> clear</button></div>'
        f'<div class="told-facts"><div class="bars">{bars}</div>'
        f'<p><b class="size">{shown.diameter_nm:.2f} nm</b> across<br>{shown.area_nm2:.1f} nm²</p></div>{said}'
    )


def _said(said: Said, now: float) -> str:
    who = "a person whose name was not kept" if said.observer is None else f"<b>{escape(said.observer)}</b>"
    what = "corrected it to" if said.correction else "labelled its track"
    style = CLASS_STYLES.get(said.particle_class)
    words = "" if style is None else f", {style.words}"
    return (
        f'<p class="person">{who} {what} <b>{escape(said.particle_class)}</b>{words}'
        f' <span class="dim">{clock_time(said.at, now)}</span></p>'
    )


def pictures(shown: Inspected, told: Told | None, address: str) -> str:
    """The crop with the stack on it, and the spectrum with its spots."""
    found = told if isinstance(told, Explained) else None
    top, left, bottom, right = crop_box(shown)
    height, width = bottom - top, right - left
    pixel_nm = shown.frame.pixel_size_nm
    url = escape(address.format(id=shown.particle, stamp=shown.frame.stamp))
    bar_nm = max((nm for nm in _BARS_NM if nm <= width * pixel_nm / 3), default=_BARS_NM[0])
    preview = isinstance(told, NotExplained) and not told.file
    source = (
        '<span class="warn">from the preview</span>'
        if preview
        else f"{width} × {height} px at {pixel_nm:.4g} nm/px"
    )
    alt = "the particle" if not preview else "the particle, from its frame's preview"
    crop = (
        f'<figure><div class="picture" style="aspect-ratio: {width} / {height}">'
        f'<img src="{url}" alt="{alt}" draggable="false">{crop_overlay(shown, found, (top, left, bottom, right))}'
        f'<div class="scale" style="width: {100 * bar_nm / (width * pixel_nm):.2f}%">{bar_nm:g} nm</div></div>'
        f"<figcaption>{source}</figcaption></figure>"
    )
    return f'<div class="pictures">{crop}{_spectrum(found, told)}</div>'


def _spectrum(found: Explained | None, told: Told | None) -> str:
    if found is None:
        waiting = '<span class="working" role="status">working …</span>' if told is None else "no spectrum"
        return f'<figure><div class="picture none">{waiting}</div><figcaption>its power spectrum</figcaption></figure>'
    data = base64.b64encode(found.spectrum).decode("ascii")
    reach = found.spectrum_per_nm
    # The picture's middle is its pixel n / 2, so half a bin more lies above and to the left of it.
    share, lost = 100 * reach / SPECTRUM_PER_NM, 100 * reach / 256 / SPECTRUM_PER_NM / 2
    offset = 50 - share / 2 - lost
    return (
        f'<figure><div class="picture" style="aspect-ratio: 1">'
        f'<img class="spectrum" style="left: {offset:.3f}%; top: {offset:.3f}%; width: {share:.3f}%;'
        f' height: {share:.3f}%"'
        f' src="data:image/png;base64,{data}" alt="its power spectrum" draggable="false">'
        f"{spectrum_overlay(found.explanation)}</div>"
        "<figcaption>power over the ground, logarithmic; rings at 2, 4 and 6 nm⁻¹</figcaption></figure>"
    )


def why(told: Told | None) -> str:
    """What was read and what counted for the class, or that it is worked out, or why it can't be."""
    if told is None:
        return '<p class="working" role="status">working … the frame is read and judged anew, to see what counted</p>'
    if isinstance(told, NotExplained):
        return f'<p class="warn" role="status">{escape(told.reason)}</p>'
    found = told.explanation
    return f'<p class="why">{escape(found.why)}</p>{_stack(found)}{_spots(found)}{_counted(found)}'


def _stack(found: Explanation) -> str:
    stack = found.stack
    if stack is None:
        return ""
    fault = ""
    if stack.fault is not None and stack.fault_layer is not None and stack.fault_nm is not None:
        fault = (
            f'<p><b class="fault">{KINDS[stack.fault]} {layer_told(stack.fault_layer)}</b>, '
            f"{stack.fault_nm:.2f} nm from the first layer</p>"
        )
    return f"<h3>the stack, layer by layer</h3>{fault}{profile(stack)}"


def _spots(found: Explanation) -> str:
    if not found.spots:
        return "<h3>spots</h3><p>No Bragg spot stands out of the ground.</p>"
    rows = "".join(_spot(number, spot, found) for number, spot in enumerate(found.spots, 1))
    return (
        "<h3>spots</h3><table><thead><tr><th></th><th>nm⁻¹</th><th>d [nm]</th><th>to the stack</th><th>× ground</th>"
        f"<th>index</th></tr></thead><tbody>{rows}</tbody></table>{_indexed(found)}"
    )


def _indexed(found: Explanation) -> str:
    if found.material is None:
        return '<p class="dim">No material was given, and the spacings of the session do not tell one.</p>'
    by = "spacing" if found.stack is None else "spacing and angle to the stack"
    return f'<p class="dim">Indexed for {escape(found.material)} by {by}.</p>'


def _spot(number: int, spot: Spot, found: Explanation) -> str:
    angle = "—" if spot.from_stacking_deg is None else f"{spot.from_stacking_deg:.0f}°"
    index = spot.index or "—"
    if found.material is None:
        index = ", ".join(spot.may_be[:MAY_BE]) or "—"
        index += ", …" if len(spot.may_be) > MAY_BE else ""
        index = f"may be {index}" if spot.may_be else index
    return (
        f"<tr><td>{number}</td><td>{spot.frequency_per_nm:.2f}</td><td>{spot.d_nm:.4f}</td><td>{angle}</td>"
        f"<td>{spot.strength:.0f}</td><td>{escape(index)}</td></tr>"
    )


def _counted(found: Explanation) -> str:
    most = max((abs(each.contribution) for each in found.counted), default=0.0) or 1.0
    colour = CLASS_STYLES[found.particle_class].colour
    rows = "".join(
        f'<tr><td>{escape(each.feature)}</td><td>{each.value:.3g}</td><td class="signed"><i style="'
        f"{'left' if each.contribution > 0 else 'right'}: 50%; width: {50 * abs(each.contribution) / most:.1f}%; "
        f'background: {colour if each.contribution > 0 else "var(--edge)"}"></i></td>'
        f"<td>{100 * each.contribution:+.1f} %</td></tr>"
        for each in found.counted
    )
    return (
        f"<h3>what counted for or against {found.particle_class}</h3>"
        f"<table><tbody>{rows}</tbody></table><p class='dim'>Share of the forest's votes that each feature added to "
        f"the {found.expected:.0%} before any is looked at; with all of them {found.votes:.0%}.</p>"
    )


def track(shown: Inspected, address: str) -> str:
    """The sightings of its track as a strip of thumbnails; a click goes to the frame."""
    if shown.track is None:
        return '<h3>track</h3><p class="dim">Not followed: not settled yet, or only a part of it is seen.</p>'
    called = "" if shown.track_class is None else f", judged as a whole: <b>{shown.track_class}</b>"
    more = (
        ""
        if shown.seen == len(shown.sightings)
        else f"; the nearest {len(shown.sightings)} in time are shown"
    )
    thumbs = ""
    for each in shown.sightings:
        here, current = each.particle == shown.particle, ' aria-current="true"'
        style = CLASS_STYLES[each.particle_class]
        url = escape(address.format(id=each.particle, stamp=each.stamp))
        thumbs += (
            f'<button data-ask="particle" data-value="{each.frame_id}:{each.label}"{current if here else ""}'
            f' aria-label="frame {each.frame_id}: {each.particle_class}, {each.diameter_nm:.2f} nm">'
            f'<img src="{url}" alt="" width="72" height="72" loading="lazy" draggable="false">'
            f'<span><span class="badge" style="background: {style.colour}">{style.letter}</span>'
            f"{each.frame_id:,}</span></button>"
        )
    times = "once" if shown.seen == 1 else f"{shown.seen:,} times"
    return f'<h3>track {shown.track:,}: seen {times}{called}{more}</h3><div class="strip">{thumbs}</div>'
