"""Each component with a made view: `update`, then what it hands to the browser."""

from dataclasses import replace

import numpy as np
import pytest

from dashboard.components.counts import Counts
from dashboard.components.fraction import Fraction, ceiling
from dashboard.components.ledger import LedgerPanel
from dashboard.components.live_frame import LiveFrame
from dashboard.components.pulse import Pulse
from dashboard.components.sizes import SizeHistogram, stacked
from dashboard.snapshot import Figures, Ledger, Pace, Refusal, Series, Sizes, Snapshot, SourceState
from dashboard.style import CLASS_STYLES, SHOWN_ORDER
from dashboard.view import RecordView
from monitor.statistics.sequence import Goal

NOW = 1_760_000_000.0


@pytest.fixture
def view(session):
    view = RecordView(session.directory)
    yield view
    view.close()


def count_changes(source) -> list[object]:
    """Every assignment to `source.data` from here on."""
    changes: list[object] = []
    source.on_change("data", lambda attr, old, new: changes.append(new))
    return changes


# -- the live frame ------------------------------------------------------------------------------------------


def test_the_live_frame_shows_the_newest_with_its_outlines(session, view, particle) -> None:
    frame = LiveFrame(view)
    session.analysed("no")
    newest = session.finish(session.arrive(), [particle("yes", 100, 60, 20), particle("null", 300, 300, 30)])

    frame.update(view.poll(), NOW)

    assert frame.shown.id == newest
    assert frame.picture.data["url"][0].startswith(f"preview/{newest}.jpg?v=")
    # 400 x 400 pixels of 0.03 nm; the picture hangs by its top left corner
    assert [frame.picture.data[name] for name in "xywh"] == [[0], [12], [12], [12]]
    yes = frame.outlines.data["label"].index("Y")
    x, y = (
        frame.outlines.data["xs"][yes],
        frame.outlines.data["ys"][yes],
    )  # centre in row 100, column 60: near the top, near the left
    assert (x.mean(), y.mean()) == (pytest.approx(60.5 * 0.03), pytest.approx((399.5 - 100) * 0.03))
    assert frame.outlines.data["p_yes"] == [0.05, 0.85]  # the largest first
    assert frame.outlines.data["dash"] == [CLASS_STYLES["null"].dash, "solid"]
    assert "1 yes" in frame.caption.text


def test_classes_differ_in_more_than_colour() -> None:
    assert len({style.colour for style in CLASS_STYLES.values()}) == 4
    assert len({style.letter for style in CLASS_STYLES.values()}) == 4
    assert len({style.hatch for style in CLASS_STYLES.values()}) == 4


def test_too_close_to_call_is_marked(session, view, particle) -> None:
    session.finish(session.arrive(), [particle("yes", abstained=True)])
    frame = LiveFrame(view)
    frame.update(view.poll(), NOW)
    assert frame.outlines.data["label"] == ["Y~"]
    assert "too close to call" in frame.outlines.data["words"][0]


def test_looking_back_stays_where_it_is_until_live_again(session, view) -> None:
    frame = LiveFrame(view)
    for name in ("yes", "no", "null"):
        session.analysed(name)
    frame.update(view.poll(), NOW)
    frame.step_back()
    assert (frame.shown.id, frame.live.active, frame.slider.value) == (2, False, 2)
    session.analysed("empty")
    frame.update(view.poll(), NOW)
    assert (frame.shown.id, frame.slider.end) == (2, 4)
    assert "newest is 4" in frame.caption.text
    frame.slider.value = 1
    assert frame.shown.id == 1
    frame.step_back()
    assert frame.shown.id == 1
    frame.step_forward()
    assert frame.shown.id == 2
    frame.live.active = True
    assert (frame.shown.id, frame.slider.value) == (4, 4)
    assert "newest" not in frame.caption.text


def test_live_by_hand_off_holds_the_frame(session, view) -> None:
    frame = LiveFrame(view)
    session.analysed("yes")
    frame.update(view.poll(), NOW)
    frame.live.active = False
    session.analysed("no")
    frame.update(view.poll(), NOW)
    assert frame.shown.id == 1


def test_a_frame_analysed_again_is_shown_anew(session, view, clock) -> None:
    frame = LiveFrame(view)
    frame_id = session.analysed("yes")
    frame.update(view.poll(), NOW)
    url = frame.picture.data["url"]
    session.db.execute("UPDATE results SET committed = committed + 1 WHERE frame_id = ?", (frame_id,))
    session.db.execute("UPDATE particles SET class = 'no'")
    frame.update(view.poll(), NOW)
    assert frame.picture.data["url"] != url
    assert frame.outlines.data["label"] == ["N"]


def test_no_frame_no_preview_and_flags(session, view) -> None:
    frame = LiveFrame(view)
    frame.update(view.poll(), NOW)
    assert frame.picture.data["url"] == []
    assert "no frame analysed yet" in frame.caption.text
    session.analysed(preview=False, quality={"blank": True, "too_<b>dark": True, "sharpness": 0.5})
    frame.update(view.poll(), NOW)
    assert frame.picture.data["url"] == []
    assert "▲ blank" in frame.caption.text
    assert "too &lt;b&gt;dark" in frame.caption.text
    assert "sharpness" not in frame.caption.text


def test_where_a_frame_lies_and_why_it_is_not_counted(session, view) -> None:
    frame = LiveFrame(view)
    frame_id = session.analysed("yes")
    frame.update(view.poll(), NOW)
    assert "field" not in frame.caption.text
    session.place(
        frame_id, 1, drift_nm=0.42, uncounted="beam <lost>: no electrons"
    )  # settled after its result
    frame.update(view.poll(), NOW)
    assert "field 1 · drift 0.42 nm" in frame.caption.text
    assert "not counted: beam &lt;lost&gt;: no electrons" in frame.caption.text
    session.place(session.analysed("no"), 2)
    frame.update(view.poll(), NOW)
    assert "field 2 ·" in frame.caption.text
    assert "drift" not in frame.caption.text
    assert "not counted" not in frame.caption.text


def test_names_of_files_are_escaped(session, view) -> None:
    session.finish(session.arrive("/data/<img src=x onerror=alert(1)>.tif"))
    frame = LiveFrame(view)
    frame.update(view.poll(), NOW)
    assert "<img" not in frame.caption.text
    assert "&lt;img" in frame.caption.text


# -- the fraction --------------------------------------------------------------------------------------------


def test_the_fraction_with_its_interval_and_what_it_is_made_of(session, view) -> None:
    fraction = Fraction()
    for _ in range(8):
        session.analysed("yes", "no", "no", "no")
    snapshot = view.poll()
    fraction.update(snapshot)
    text = fraction.headline.text
    assert f"{100 * snapshot.figures.corrected:.1f}" in text
    assert f"{100 * snapshot.figures.low:.1f} – {100 * snapshot.figures.high:.1f} %" in text
    assert "counted <b>25.0 %</b>: 8 of 32 particles" in text
    assert "Of the particles whose stacking is resolved" in text
    assert "sensitivity is 0.92 (92/100)" in text
    assert f"valid at every look: {50 * snapshot.figures.low:.1f} – " in text
    assert fraction.source.data["x"].tolist() == list(range(1, 9))
    assert len({len(column) for column in fraction.source.data.values()}) == 1


def test_by_time_is_minutes_from_the_first_frame(session, view, clock) -> None:
    for _ in range(3):
        session.analysed("yes", "no")
        clock.now += 90
    fraction = Fraction()
    fraction.update(view.poll())
    fraction.axis_choice.active = 1
    assert fraction.source.data["x"].tolist() == [0, 1.5, 3]
    assert "minutes" in fraction.chart.xaxis[0].axis_label


def test_in_an_older_record_without_rates_nothing_is_called_corrected(made) -> None:
    made.begin(rates=None)
    made.analysed("yes", "no")
    made.db.execute("UPDATE statistics SET t_empty = NULL, t_null = NULL, t_no = NULL, t_yes = NULL")
    view, fraction = RecordView(made.directory), Fraction()
    fraction.update(view.poll())
    assert "as counted, not corrected: 1 of 2 sightings" in fraction.headline.text
    assert "9.5 – 90.5 %" in fraction.headline.text  # Wilson's interval of 1 in 2
    assert "<button" not in fraction.headline.text  # nothing to draw from
    view.close()


def test_without_an_interval_the_counts_the_reason_and_the_audit_stand_out(made) -> None:
    made.begin(rates=None)
    made.analysed("yes", "no", "no")
    made.db.execute(
        "UPDATE statistics SET reason = 'these frames are <b>unlike</b> the training: audit 20 tracks'"
    )
    view, fraction = RecordView(made.directory), Fraction()
    fraction.update(view.poll())
    text = fraction.headline.text
    assert "1<small> of 3 yes" in text
    assert "no interval: these frames are &lt;b&gt;unlike&lt;/b&gt; the training: audit 20 tracks" in text
    assert 'class="urgent" data-open="audit" data-ask="audit" data-value="20"' in text
    assert "95 %" not in text
    view.close()


def test_the_goal_is_asked_for_the_half_width_that_is_chosen(session, view) -> None:
    asked = []

    def goal(half_width: float) -> Goal:
        asked.append(half_width)
        return Goal(half_width, 0.1, half_width > 0.15, 120, 7.2, None)

    fraction = Fraction(goal)
    session.analysed("yes", "no", "no")
    fraction.update(view.poll())
    fraction.tick()
    assert "± 5%: about 120 more particles, about 7 min" in fraction.goal_words.text
    lines = fraction.goal_line.location, fraction.goal_line_above.location
    assert lines[1] - lines[0] == pytest.approx(0.1)
    fraction.goal.value = 20
    assert "✓ ± 20% reached: you may stop" in fraction.goal_words.text
    assert asked == [0.05, 0.2]
    assert (fraction.goal_line_above.location or 0) - (fraction.goal_line.location or 0) > 0.3


def test_without_judged_particles_there_is_no_number(session, view) -> None:
    session.analysed("empty", "null")
    fraction = Fraction()
    fraction.update(view.poll())
    assert "no particle judged yes or no yet" in fraction.headline.text
    assert fraction.chart.y_range.end == 0.1


def test_the_chart_is_as_high_as_the_interval_is_now() -> None:
    def series(high: list[float]) -> Series:
        x = np.arange(len(high), dtype=float)
        return Series(x, x, 0 * x, 0 * x, 0 * x, np.array(high), 0 * x, 0 * x)

    assert ceiling(series([1.0, *[0.32] * 9])) == 0.4
    assert ceiling(series([0.99] * 4)) == 1.0
    assert ceiling(series([float("nan")] * 4)) == 0.1
    assert ceiling(Series.empty()) == 0.1


# -- counts and sizes ----------------------------------------------------------------------------------------


def test_counts_with_numbers_shares_and_intervals(session, view) -> None:
    counts = Counts()
    session.analysed("yes", "no", "no", "null")
    counts.update(view.poll())
    data = counts.source.data
    assert dict(zip(SHOWN_ORDER, data["count"], strict=True)) == {"yes": 1, "no": 2, "null": 1, "empty": 0}
    assert data["words"][1] == "2   50 %"
    assert all(
        low <= count <= high
        for low, count, high in zip(data["low"], data["count"], data["high"], strict=True)
    )
    assert counts.root.x_range.end > max(data["high"])
    assert counts.root.title.text == "PARTICLES BY CLASS (EACH ONCE)"
    session.db.execute("UPDATE statistics SET t_yes = NULL, t_no = NULL, t_null = NULL, t_empty = NULL")
    counts.update(view.poll())
    assert counts.root.title.text.startswith("SIGHTINGS")


def test_bars_stand_on_one_another_and_nothing_is_lost() -> None:
    counts = np.zeros((4, 400), int)
    counts[3, 20:30], counts[2, 20:200:7] = 2, 1
    data = stacked(Sizes(counts, 0.25))
    assert len(data["left"]) <= 32
    assert data["top_empty"].sum() == counts.sum()
    assert (data["top_no"] - data["top_yes"]).sum() == counts[2].sum()
    assert (data["left"][0], data["right"][0]) == (4, 6)
    widths = data["right"] - data["left"]
    assert np.all(widths == widths[0])
    assert np.all(data["left"][1:] == data["right"][:-1])


def test_one_size_is_one_bar_and_none_is_none() -> None:
    counts = np.zeros((4, 400), int)
    assert stacked(Sizes(counts, 0.25))["left"] == []
    counts[0, 399] = 3
    data = stacked(Sizes(counts, 0.25))
    assert (data["left"].tolist(), data["words"]) == ([99.75], ["99.75 to 100 nm"])


# -- the ledger ----------------------------------------------------------------------------------------------


def snapshot_of(session, **parts) -> Snapshot:
    return replace(Snapshot(1, 1, session.directory, exists=True), **parts)


def test_the_ledger_adds_up_and_says_why(session) -> None:
    why = "0.35 nm/px is outside 0.003 to 0.2 nm/px <script>alert(1)</script>"
    ledger = Ledger(1200, 3, 2, 1, ignored=5, lost=7, duplicates=1, reasons=(("rejected", why, 2),))
    refusals = (Refusal(9, "<i>.dm4", "rejected", why, NOW),)
    panel = LedgerPanel()
    panel.update(snapshot_of(session, ledger=ledger, refusals=refusals), NOW)
    for part in (
        "1,206</span>arrived",
        "1,200</span>analysed",
        "3</span>queued",
        "2</span>rejected",
        "1</span>dropped",
    ):
        assert part in panel.balance.text
    assert 'class="bad"' in panel.balance.text  # lost frames can't be overlooked
    for block in (panel.balance, panel.refusals):
        assert "<script" not in block.text
        assert "&lt;script&gt;" in block.text
    assert "<i>" not in panel.refusals.text


def test_sources_say_how_they_are(session) -> None:
    sources = (
        SourceState("directory", "/data", "lost", NOW - 60, "the share is gone"),
        SourceState("pull", "tcp://127.0.0.1:5555", "watching", NOW - 90, None),
    )
    panel = LedgerPanel()
    panel.update(snapshot_of(session, sources=sources), NOW)
    assert "✕ lost" in panel.sources.text
    assert "the share is gone" in panel.sources.text
    assert "● watching" in panel.sources.text


# -- the pulse -----------------------------------------------------------------------------------------------


def test_the_pulse_is_sent_only_when_something_is_different(session) -> None:
    pulse = Pulse()
    pace = Pace(
        last_arrived=NOW, last_committed=NOW, analysed_per_s=2.0, latency_p50_ms=350, latency_p95_ms=1400
    )
    snapshot = snapshot_of(session, ledger=Ledger(analysed=5), pace=pace)
    pulse.update(snapshot, NOW)
    changes = count_changes(pulse.source)
    assert pulse.source.data["state"] == ["live"]
    assert "350\N{NARROW NO-BREAK SPACE}ms · 1.4\N{NARROW NO-BREAK SPACE}s" in pulse.root.text
    pulse.update(snapshot, NOW + 5)
    assert changes == []
    pulse.update(snapshot, NOW + 11)
    assert [change["state"] for change in changes] == [["quiet"]]
    assert changes[0]["last_frame_at"] == [NOW]


def test_each_component_hands_over_all_columns_at_once_and_only_what_is_new(session, view) -> None:
    frame, fraction, counts, sizes = LiveFrame(view), Fraction(), Counts(), SizeHistogram()
    sources = [frame.picture, frame.outlines, fraction.source, counts.source, sizes.source]
    session.analysed("yes", "no")
    changes = [count_changes(source) for source in sources]

    def update() -> None:
        snapshot = view.poll()
        frame.update(snapshot, NOW)
        for component in (fraction, counts, sizes):
            component.update(snapshot)

    update()
    assert [len(change) for change in changes] == [1] * 5
    session.arrive()  # news, but none for these
    update()
    assert [len(change) for change in changes] == [1] * 5
    session.analysed("yes")
    update()
    assert [len(change) for change in changes] == [2] * 5


def test_figures_know_what_is_behind_the_fraction() -> None:
    assert Figures(1, 0.0, (5, 4, 3, 2), None, None, None, None).judged == 5
