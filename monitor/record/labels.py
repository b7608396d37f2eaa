"""Audits: tracks that were drawn to be labelled, and what observers said of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from monitor.record.changes import judged_since
from monitor.statistics.audit import Agreement, agreement, draw
from monitor.statistics.confusion import TRUE, called_category, true_category
from monitor.statistics.tally import Vote


@dataclass(frozen=True)
class ToLabel:
    """A track that an audit drew, by the sighting that shows most of it."""

    particle: int
    frame_id: int
    label: int
    """The particle's in its frame."""


def draw_audit(db: sqlite3.Connection, number: int, at: float) -> int:
    """Draw tracks to be labelled, more of the doubtful ones; returns how many there were to draw.

    What was drawn and not labelled yet stays drawn, and counts towards the number. What was drawn while another bundle
    judged is drawn as if it never was, for it was drawn by that one's calls; what people said of it stays with it.
    """
    since = judged_since(db)
    waiting = db.execute(
        "SELECT count(DISTINCT particle) FROM labels WHERE class IS NULL AND drawn >= ?", (since,)
    ).fetchone()[0]
    tracks = db.execute(
        "SELECT t.id, t.class, t.sure, EXISTS (SELECT 1 FROM labels l JOIN particles p ON p.id = l.particle "
        "WHERE p.track = t.id AND l.drawn >= ?) FROM tracks t WHERE t.seen > 0 ORDER BY t.id",
        (since,),
    ).fetchall()
    if not tracks or number <= waiting:
        return int(waiting)
    called = [called_category(name, not sure) for _, name, sure, _ in tracks]
    # The same tracks give the same draw; a later draw is another one.
    seed = len(tracks) * 1000 + db.execute("SELECT count(*) FROM labels").fetchone()[0]
    drawn = draw(called, [bool(known) for *_, known in tracks], number - waiting, seed)
    for index, inclusion in zip(drawn.tracks, drawn.probabilities, strict=True):
        track = tracks[index][0]
        again = db.execute(
            "UPDATE labels SET drawn = ?, inclusion = ? WHERE particle IN (SELECT id FROM particles WHERE track = ?)",
            (at, inclusion, track),
        ).rowcount
        particle = None if again else _shown(db, track)
        if particle is not None:
            db.execute(
                "INSERT INTO labels (particle, drawn, inclusion) VALUES (?, ?, ?)", (particle, at, inclusion)
            )
    return int(waiting) + len(drawn.tracks)


def set_label(db: sqlite3.Connection, particle: int, observer: str, name: str | None, at: float) -> bool:
    """Keep what an observer says of a track that was drawn; None takes it back. False where it was not drawn."""
    row = db.execute("SELECT drawn, inclusion FROM labels WHERE particle = ? LIMIT 1", (particle,)).fetchone()
    if row is None:
        return False
    db.execute(
        "DELETE FROM labels WHERE particle = ? AND (observer = ? OR observer IS NULL)", (particle, observer)
    )
    others = db.execute("SELECT count(*) FROM labels WHERE particle = ?", (particle,)).fetchone()[0]
    if name is not None:
        db.execute(
            "INSERT INTO labels (particle, drawn, inclusion, observer, class, at) VALUES (?, ?, ?, ?, ?, ?)",
            (particle, *row, observer, name, at),
        )
    elif not others:
        db.execute("INSERT INTO labels (particle, drawn, inclusion) VALUES (?, ?, ?)", (particle, *row))
    return True


@dataclass(frozen=True)
class Labelled:
    """A track that counts and that an observer labelled."""

    label: str
    """The class that the first observer saw."""
    vote: Vote
    diameter_nm: float


def labelled(db: sqlite3.Connection) -> dict[int, tuple[str, Vote]]:
    """Every labelled track: what the first observer said of it, and what the track counts for."""
    return {track: (known.label, known.vote) for track, known in labelled_tracks(db).items()}


def labelled_tracks(db: sqlite3.Connection) -> dict[int, Labelled]:
    """Every labelled track that counts, by its number: only of those drawn since the present bundle judges."""
    found: dict[int, Labelled] = {}
    for track, name, field, called, sure, weight, diameter in db.execute(
        "SELECT t.id, l.class, t.field, t.class, t.sure, t.weight, t.diameter_nm FROM labels l "
        "JOIN particles p ON p.id = l.particle JOIN tracks t ON t.id = p.track "
        "WHERE l.class IS NOT NULL AND t.seen > 0 AND l.drawn >= ? ORDER BY l.at DESC, l.id DESC",
        (judged_since(db),),
    ):
        found[track] = Labelled(name, Vote(field, called, bool(sure), weight), diameter)
    return found


def to_label(db: sqlite3.Connection, observer: str) -> Iterator[ToLabel]:
    """The tracks that were drawn and that this observer did not label yet, in the order in which they were drawn."""
    for row in db.execute(
        "SELECT p.id, p.frame_id, p.label FROM labels l JOIN particles p ON p.id = l.particle "
        "WHERE NOT EXISTS (SELECT 1 FROM labels o WHERE o.particle = l.particle AND o.observer = ?1) "
        "AND l.drawn >= ?2 GROUP BY p.id ORDER BY min(l.id)",
        (observer, judged_since(db)),
    ):
        yield ToLabel(*row)


def observers_agree(db: sqlite3.Connection) -> Agreement | None:
    """How the first two observers agree on the tracks that both labelled; None where there are none."""
    table = np.zeros((len(TRUE), len(TRUE)))
    names = [
        name
        for (name,) in db.execute(
            "SELECT observer FROM labels WHERE class IS NOT NULL GROUP BY observer ORDER BY count(*) DESC LIMIT 2"
        )
    ]
    if len(names) < 2:
        return None
    for first, second in db.execute(
        "SELECT a.class, b.class FROM labels a JOIN labels b ON b.particle = a.particle "
        "WHERE a.observer = ? AND b.observer = ? AND a.class IS NOT NULL AND b.class IS NOT NULL",
        names,
    ):
        table[true_category(first), true_category(second)] += 1
    return agreement(table) if table.sum() else None


def _shown(db: sqlite3.Connection, track: int) -> int | None:
    """The sighting that shows most of a track, of those in frames that count."""
    row = db.execute(
        "SELECT p.id FROM particles p JOIN places s ON s.frame_id = p.frame_id "
        "WHERE p.track = ? AND s.uncounted IS NULL ORDER BY p.area_nm2 DESC, p.id LIMIT 1",
        (track,),
    ).fetchone()
    return None if row is None else int(row[0])
