"""The limits of all alarms, each with its unit and its reason. `docs/alarms.md` shows what they lead to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """From where on something is wrong. Where there are two values, an alarm is raised at one and cleared at the
    other."""

    usual_frames: int = 16
    """What is usual is the median of so many good frames: it follows the session slowly, and an odd frame not at
    all."""
    known_frames: int = 3
    """Before so many good frames nothing is compared with what is usual."""
    settle_frames: int = 60
    """What stays changed for so many frames is taken as the new usual: somebody meant it."""

    lost_share: float = 0.05
    lost_cleared_share: float = 0.1
    """Of the usual noise power, which goes with the dose: less is no beam. Cameras keep below 0.01 in the dark."""
    dark_whiteness: float = 0.9
    """Before anything is usual: noise as white as this with nothing above it, where no electron was spread by the
    camera."""

    lit_share: float = 0.15
    """Of the usual noise power: with less light, film that is there would not show, and a field can't be called
    blank."""
    blank_signal: float = 0.12
    """Signal that film would have at the present dose: with less it can't be told from a hole."""
    blank_covered: float = 0.02
    """Share of the frame in particles. A field is blank with less, where nothing stands above the noise."""

    sharp_share: float = 0.70
    sharp_cleared_share: float = 0.76
    """Of the sharpness before in the same field, or of the usual one in two fields one after the other: fifty
    nanometres off focus leave 0.6. A single field may look as soft when strong lattices fill it."""
    softer_signal: float = 0.7
    """Of the usual signal: defocus raises it. A soft frame that is weaker counts only if the one before was soft."""
    rings_sure: float = 0.8
    ringed_share: float = 0.82
    """Rings are believed at this confidence, which no frame in focus reached, or below this share of the usual
    sharpness."""
    defocus_off_nm: float = 45.0
    """From the usual defocus, where Thon rings show [nm]. Corrected microscopes were trained on within 25 nm."""
    defocus_nm: float = 150.0
    """Whatever is usual: beyond all that lattice frames were trained on, corrected or not [nm]."""

    uneven_factor: float = 1.35
    uneven_cleared_factor: float = 1.2
    """Times the usual unevenness of the illumination. It changes by a tenth from frame to frame, particles
    included."""
    uneven_more: float = 0.03
    """And by so much of the mean, so that very even illumination is not judged by its noise."""
    softer_share: float = 0.88
    """Of the usual sharpness: with uneven illumination, this much less is charging. It moves focus and picture
    alike."""
    growing_factor: float = 1.1
    growing_uneven_factor: float = 1.7
    """Times the unevenness of the frame before in the same field, and times the usual one: it wanders off. The edge
    of a film makes a field uneven too, and stays where it is."""
    blur_nm: float = 0.2
    """Directional: half the smallest lattice spacing that the stacking is read from is lost [nm]."""

    drift_nm: float = 1.5
    drift_cleared_nm: float = 1.2
    """Between two frames of a field [nm]. At a frame every two seconds, exposed for 0.16 s, this smears the picture by
    0.12 nm: half of the finest spacings from which the stacking is read."""

    dose_factor: float = 1.8
    dose_cleared_factor: float = 1.5
    """Up or down from the usual noise power. Doses vary by a tenth and the estimate by as much; the classifier's
    rates change visibly with a factor of two (the bundle's `rates_by_condition`)."""

    pixel_share: float = 0.005
    """Change of the pixel size: half of the window in which layer spacings are looked for is 4.5 %, and sizes go
    with it."""
    pixel_frames: int = 10
    """A change of the pixel size is shown for so many frames."""

    unlike_window: int = 8
    unlike_raised: int = 4
    unlike_cleared: int = 1
    """Of the last so many frames: one in a hundred of good frames is called unlike, so four of eight are no chance,
    even where frames of one field agree; hence also `unlike_fields`."""
    unlike_fields: int = 2

    shares_fields: int = 4
    """The classes of the last so many fields are compared with those before."""
    shares_least: float = 12.0
    shares_least_here: float = 6.0
    """Particles that both need, by frame of their field; and that the present field needs to be judged by itself."""
    shares_g: float = 15.1
    shares_cleared_g: float = 6.6
    """Likelihood ratio (G) of one degree of freedom: one in 10,000, and one in 100."""

    gap_frames: int = 20
    """A gap is shown until so many frames came without one."""
    backlog_least: int = 20
    """Frames that wait: fewer are worked off soon."""
    backlog_samples: int = 6
    backlog_seconds: float = 10.0
    """The length is looked at as often as this [s], and compared with that of so many looks before."""
    backlog_growth: int = 10
    """Frames more than then."""
    backlog_cleared_share: float = 0.5
    """Of the longest."""
    disk_bytes: float = 5e9
    """A few minutes of a 4k camera [bytes]."""
    disk_minutes: float = 30.0
    """Until it is full at the present rate: enough to make room without haste [min]."""
    disk_cleared: float = 1.5
    """Times both limits."""
