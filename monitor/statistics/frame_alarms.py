"""What one frame says of each kind of alarm, compared with what is usual in the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from monitor.statistics.alarm_kinds import Finding, Kind
from monitor.statistics.alarm_limits import Limits

#: The figures of which it is kept what is usual.
FIGURES = ("noise_power", "signal", "sharpness_per_nm", "illumination_range", "defocus_nm")


@dataclass(frozen=True)
class FrameSeen:
    """What an alarm knows of one frame, in order of acquisition."""

    frame: int
    time: float | None
    """When it was taken [s since 1970 UTC]."""
    quality: Mapping[str, Any]
    """Of its analysis, see `models.quality.frame`; figures that it lacks are not judged."""
    counts: Mapping[str, int]
    """Particles by class."""
    drift_nm: float | None
    """Since the frame before; `None` where that shows another field, or it could not be measured."""
    repeated: bool
    """Its pixels are those of an earlier frame."""
    new_field: bool
    """The stage has moved since the frame before."""
    pixel_size_nm: float


@dataclass(frozen=True)
class Usual:
    """What is usual in the session: the median of each figure over the last good frames."""

    figures: Mapping[str, tuple[float, ...]]
    limits: Limits

    def get(self, name: str) -> float | None:
        """`None` before enough good frames had this figure."""
        values = self.figures.get(name, ())
        return median(values) if len(values) >= self.limits.known_frames else None


@dataclass(frozen=True)
class Here:
    """What is kept of the frames before in the same field, and of soft frames in a row."""

    field: int = 0
    """The field's number."""
    uneven: float | None = None
    """`illumination_range` of the frame before."""
    sharpest: float | None = None
    """The largest `sharpness_per_nm`."""
    soft_field: int | None = None
    """The field in which soft frames in a row began; `None` where the frame before was not soft."""

    def moved(self, new_field: bool) -> Here:
        """At the next frame."""
        return Here(self.field + 1, soft_field=self.soft_field) if new_field else self

    def with_frame(self, quality: Mapping[str, Any], usual: Usual) -> Here:
        """With what the frame shows."""
        uneven, sharp = number(quality, "illumination_range"), number(quality, "sharpness_per_nm")
        if sharp is None:
            return replace(self, uneven=uneven)
        soft_field = self.soft_field
        usual_sharp = usual.get("sharpness_per_nm")
        if usual_sharp is None or sharp >= usual.limits.sharp_share * usual_sharp:
            soft_field = None
        elif soft_field is None:
            soft_field = self.field
        return Here(self.field, uneven, max(sharp, self.sharpest or 0.0), soft_field)


def number(quality: Mapping[str, Any], name: str) -> float | None:
    """A figure of a frame, `None` where it has none."""
    value = quality.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def found_in_frame(
    seen: FrameSeen, usual: Usual, here: Here, limits: Limits, raised: frozenset[Kind]
) -> dict[Kind, Finding]:
    """What the frame says of each kind; a kind that it says nothing of is missing.

    Parameters
    ----------
    here : of the frames before.
    raised : the alarms that are on, for which the limits of clearing hold.
    """
    found: dict[Kind, Finding] = {"frozen frame": _frozen(seen)}
    if seen.repeated:
        return found  # its figures are those of the frame that it repeats
    found["beam lost"] = _beam(seen, usual, limits, "beam lost" in raised)
    if found["beam lost"].wrong:
        return found
    found["blank field"] = _blank(seen, usual, limits)
    dose = _dose(seen, usual, limits, "calibration shift" in raised)
    if dose is not None:
        found["calibration shift"] = dose
    if seen.new_field:
        found["drift too fast"] = Finding(False)
    elif seen.drift_nm is not None:
        limit = limits.drift_cleared_nm if "drift too fast" in raised else limits.drift_nm
        cause = (
            f"The specimen moved by {seen.drift_nm:.1f} nm since the frame before, more than {limit:g} nm."
        )
        found["drift too fast"] = Finding(seen.drift_nm > limit, cause)
    if found["blank field"].wrong:
        return found
    charging = _charging(seen, usual, limits, "charging" in raised, here.uneven)
    if charging is not None:
        found["charging"] = charging
    if charging is None or not charging.wrong:  # charging puts a frame out of focus too
        focus = _focus(seen, usual, here, limits, "out of focus" in raised)
        if focus is not None:
            found["out of focus"] = focus
    return found


def _frozen(seen: FrameSeen) -> Finding:
    return Finding(seen.repeated, "The frame repeats the pixels of an earlier one.")


def _beam(seen: FrameSeen, usual: Usual, limits: Limits, raised: bool) -> Finding:
    counts, power = number(seen.quality, "mean_counts"), number(seen.quality, "noise_power")
    usual_power = usual.get("noise_power")
    if seen.quality.get("verdict") == "constant":
        return Finding(True, f"Every pixel has the same value ({counts or 0.0:.4g} counts).")
    if power is None:
        return Finding(False)
    if usual_power:
        share = power / usual_power
        limit = limits.lost_cleared_share if raised else limits.lost_share
        level = f"{counts or 0.0:.4g} counts"
        cause = f"The noise has {share:.1%} of its usual power, so next to no electrons came ({level})."
        return Finding(share < limit, cause)
    whiteness = number(seen.quality, "noise_whiteness") or 0.0
    nothing = _nothing_shows(seen.quality) and (number(seen.quality, "covered") or 0.0) == 0
    cause = (
        f"The frame is white noise alone ({counts or 0.0:.4g} counts): no electron was spread by the camera."
    )
    return Finding(nothing and whiteness > limits.dark_whiteness, cause)


def _nothing_shows(quality: Mapping[str, Any]) -> bool:
    """The noise is known, and nothing stands above it."""
    return "signal" in quality and "information_limit_per_nm" not in quality


def _blank(seen: FrameSeen, usual: Usual, limits: Limits) -> Finding:
    power, usual_power = number(seen.quality, "noise_power"), usual.get("noise_power")
    covered = number(seen.quality, "covered") or 0.0
    lit = power is not None and (usual_power is None or power > limits.lit_share * usual_power)
    usual_signal = usual.get("signal")
    if power is not None and usual_power and usual_signal is not None:
        lit = lit and usual_signal * power / usual_power > limits.blank_signal
    empty = _nothing_shows(seen.quality) and covered < limits.blank_covered
    cause = f"The frame is lit, and nothing stands above the noise; particles cover {covered:.1%} of it."
    return Finding(lit and empty, cause)


def _dose(seen: FrameSeen, usual: Usual, limits: Limits, raised: bool) -> Finding | None:
    power, usual_power = number(seen.quality, "noise_power"), usual.get("noise_power")
    if not power or not usual_power:
        return None
    factor = power / usual_power
    limit = limits.dose_cleared_factor if raised else limits.dose_factor
    cause = f"The dose is {factor:.2f} times the usual one, by the power of the noise."
    return Finding(max(factor, 1 / factor) > limit, cause)


def _charging(
    seen: FrameSeen, usual: Usual, limits: Limits, raised: bool, before: float | None
) -> Finding | None:
    uneven, usual_uneven = number(seen.quality, "illumination_range"), usual.get("illumination_range")
    sharp, usual_sharp = number(seen.quality, "sharpness_per_nm"), usual.get("sharpness_per_nm")
    if uneven is None or usual_uneven is None or sharp is None or usual_sharp is None:
        return None
    blur = number(seen.quality, "blur_nm") or 0.0
    factor = limits.uneven_cleared_factor if raised else limits.uneven_factor
    shifted = uneven > factor * usual_uneven and uneven > usual_uneven + limits.uneven_more
    softer = sharp < limits.softer_share * usual_sharp
    smeared = f", and the picture is smeared by {blur:.2f} nm" if blur > limits.blur_nm else ""
    cause = (
        f"The illumination varies by {uneven:.0%} of the mean, usually by {usual_uneven:.0%}; half of the signal "
        f"lies below {sharp:.1f} nm⁻¹, usually below {usual_sharp:.1f} nm⁻¹{smeared}."
    )
    growing = before is not None and uneven > limits.growing_factor * before
    growing = growing and uneven > limits.growing_uneven_factor * usual_uneven
    return Finding(shifted and (softer or growing or blur > limits.blur_nm), cause)


def _focus(seen: FrameSeen, usual: Usual, here: Here, limits: Limits, raised: bool) -> Finding | None:
    sharp, usual_sharp = number(seen.quality, "sharpness_per_nm"), usual.get("sharpness_per_nm")
    defocus, usual_defocus = number(seen.quality, "defocus_nm"), usual.get("defocus_nm")
    if sharp is None or usual_sharp is None:
        if defocus is None or defocus <= limits.defocus_nm:
            return None
        return Finding(
            True, f"Thon rings tell a defocus of {defocus:.0f} nm, beyond {limits.defocus_nm:g} nm."
        )
    if defocus is not None:
        sure = (number(seen.quality, "defocus_confidence") or 0.0) >= limits.rings_sure
        off = defocus > limits.defocus_nm or abs(defocus - (usual_defocus or 0.0)) > limits.defocus_off_nm
        if off and (sure or sharp < limits.ringed_share * usual_sharp):
            usually = f", usually {usual_defocus:.0f} nm" if usual_defocus is not None else ""
            return Finding(True, f"Thon rings tell a defocus of {defocus:.0f} nm{usually}.")
    if raised:
        return Finding(sharp < limits.sharp_cleared_share * usual_sharp)
    if here.sharpest is not None and sharp < limits.sharp_share * here.sharpest:
        cause = f"Half of the signal lies below {sharp:.1f} nm⁻¹, before in this field below {here.sharpest:.1f} nm⁻¹."
        signal, usual_signal = number(seen.quality, "signal"), usual.get("signal")
        weak = signal is not None and signal < limits.softer_signal * (usual_signal or 0.0)
        return Finding(not weak or here.soft_field is not None, cause)
    soft = sharp < limits.sharp_share * usual_sharp
    cause = (
        f"In two fields half of the signal lies below {sharp:.1f} nm⁻¹, usually below {usual_sharp:.1f} nm⁻¹."
    )
    return Finding(soft and here.soft_field is not None and here.soft_field < here.field, cause)
