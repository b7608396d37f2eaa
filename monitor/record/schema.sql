-- The record of one session, schema version 4 (PRAGMA user_version). SQLite in WAL mode; the session is the only writer.
-- Its rules are in ledger.sql, its description in docs/record.md.
-- Times are seconds since 1970-01-01 UTC. Coordinates are (row, column) in the frame's own pixels.

CREATE TABLE meta (               -- what the session is: format, created, started, settings (JSON), command, material
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE bundles (            -- every model that judged in this session
    id      TEXT PRIMARY KEY,
    path    TEXT NOT NULL,
    details TEXT NOT NULL         -- JSON: classes, sampling, metrics, sensitivity and specificity counts
);

CREATE TABLE sources (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,     -- directory, pull, sub, ack, dectris, de, replay, list
    address    TEXT NOT NULL UNIQUE,
    state      TEXT NOT NULL,     -- watching, lost, closed
    since      REAL NOT NULL,     -- when that state began
    message    TEXT,              -- a sentence for the operator, where the state needs one
    lost       INTEGER NOT NULL DEFAULT 0,   -- gaps in the senders' numbers
    duplicates INTEGER NOT NULL DEFAULT 0,   -- sent again, not counted again
    ignored    INTEGER NOT NULL DEFAULT 0    -- sidecars and files that are no pictures
);

CREATE TABLE frames (             -- the ledger: one row a frame (an unreadable file is one frame)
    id            INTEGER PRIMARY KEY,        -- order of arrival
    source_id     INTEGER NOT NULL REFERENCES sources(id),
    path          TEXT NOT NULL,
    item          INTEGER,                    -- index in the file; NULL: the whole file
    revision      INTEGER NOT NULL DEFAULT 0, -- a path written again after it was taken
    content       TEXT,                       -- hash of what was announced (see monitor.frames)
    file_size     INTEGER,
    file_mtime_ns INTEGER,
    sender        TEXT,                       -- a socket's sender
    sequence      INTEGER,                    -- the sender's number for it
    acquired      REAL,                       -- when the camera took it, as far as is known
    arrived       REAL NOT NULL,
    pixel_size_nm REAL,                       -- as announced by the source; the results hold what was used
    metadata      TEXT,                       -- JSON, the original metadata whole
    state         TEXT NOT NULL CHECK (state IN ('queued', 'analysed', 'rejected', 'dropped')),
    reason        TEXT,                       -- why rejected or dropped
    CHECK ((state IN ('rejected', 'dropped')) = (reason IS NOT NULL))
);
CREATE UNIQUE INDEX frames_identity ON frames (source_id, path, ifnull(item, -1), revision);
CREATE INDEX frames_state ON frames (state);
CREATE INDEX frames_sender ON frames (sender, sequence);
CREATE INDEX frames_content ON frames (content);                           -- finds a renamed file
CREATE INDEX frames_order ON frames (ifnull(acquired, arrived), id);       -- order of acquisition

CREATE TABLE results (
    frame_id      INTEGER PRIMARY KEY REFERENCES frames(id),
    bundle        TEXT NOT NULL REFERENCES bundles(id),
    backend       TEXT NOT NULL,
    height        INTEGER NOT NULL,
    width         INTEGER NOT NULL,
    pixel_size_nm REAL NOT NULL,
    quality       TEXT NOT NULL,              -- JSON
    timings_ms    TEXT NOT NULL,              -- JSON, wall time by stage
    finished      REAL NOT NULL,              -- when the worker was done
    committed     REAL NOT NULL,              -- when this row was written
    latency_ms    REAL NOT NULL,              -- from the frame being there whole to this row
    preview       BLOB,                       -- JPEG, 8 bit grey, reduced by area to at most 512 pixels a side
    pixels        TEXT,                       -- hash of the pixels as they were analysed (see monitor.frames)
    signature     BLOB                        -- PNG, 8 bit grey, 0.1 nm a pixel: by it frames of a field are registered
);
CREATE INDEX results_pixels ON results (pixels);                           -- finds frames of a frozen camera

CREATE TABLE particles (          -- a row a sighting
    id          INTEGER PRIMARY KEY,
    frame_id    INTEGER NOT NULL REFERENCES results(frame_id) ON DELETE CASCADE,
    label       INTEGER NOT NULL,             -- its value in the label image
    class       TEXT NOT NULL CHECK (class IN ('empty', 'null', 'no', 'yes')),
    p_empty     REAL NOT NULL,
    p_null      REAL NOT NULL,
    p_no        REAL NOT NULL,
    p_yes       REAL NOT NULL,
    abstained   INTEGER NOT NULL,
    row0        INTEGER NOT NULL,
    col0        INTEGER NOT NULL,
    row1        INTEGER NOT NULL,
    col1        INTEGER NOT NULL,
    centroid_row REAL NOT NULL,
    centroid_col REAL NOT NULL,
    diameter_nm REAL NOT NULL,
    area_nm2    REAL NOT NULL,
    outline     TEXT NOT NULL,                -- JSON [[row, col], ...], closed
    features    TEXT NOT NULL,                -- JSON {name: value}
    track       INTEGER,                      -- the physical particle; NULL: not settled, or only a part of one
    UNIQUE (frame_id, label)
);
CREATE INDEX particles_class ON particles (class);
CREATE INDEX particles_track ON particles (track);

CREATE TABLE places (             -- where each settled frame lies on the specimen
    frame_id  INTEGER PRIMARY KEY REFERENCES results(frame_id) ON DELETE CASCADE,
    field     INTEGER NOT NULL,               -- number of the field's first frame
    map       INTEGER NOT NULL,               -- its first frame: fields that overlap share a map
    row_nm    REAL NOT NULL,                  -- of the frame's upper left corner, on the map
    col_nm    REAL NOT NULL,
    drift_nm  REAL,                           -- from the frame before; NULL: the stage moved
    how       TEXT NOT NULL,                  -- first, correlation, particles, drift, returned, bridged
    uncounted TEXT                            -- why its particles are not counted; NULL: they are
);
CREATE INDEX places_map ON places (map);

CREATE TABLE tracks (             -- a row a physical particle
    id          INTEGER PRIMARY KEY,          -- particles.id of its first sighting
    field       INTEGER NOT NULL,             -- in which it was seen first
    map         INTEGER NOT NULL,
    class       TEXT NOT NULL CHECK (class IN ('empty', 'null', 'no', 'yes')),
    p_empty     REAL NOT NULL,
    p_null      REAL NOT NULL,
    p_no        REAL NOT NULL,
    p_yes       REAL NOT NULL,
    sure        INTEGER NOT NULL,             -- 0: too close to call
    seen        INTEGER NOT NULL,             -- sightings in frames that count; 0: the track does not count
    first_frame INTEGER NOT NULL,
    last_frame  INTEGER NOT NULL,
    diameter_nm REAL NOT NULL,                -- in the sighting that shows most of it
    whole       INTEGER NOT NULL,             -- it was seen without touching the border of a frame
    weight      REAL NOT NULL,                -- 1 / how often one of its size comes into view
    row_nm      REAL NOT NULL,                -- of its centre, on the map
    col_nm      REAL NOT NULL
);
CREATE INDEX tracks_map ON tracks (map);
CREATE INDEX tracks_size ON tracks (class, diameter_nm);

CREATE TABLE alarms (             -- a row an alarm, from when it was raised
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL,
    severity     TEXT NOT NULL,               -- notice, warning, critical
    cause        TEXT NOT NULL,               -- a sentence with the figures, as they were when it was raised
    action       TEXT NOT NULL,               -- what to do
    since_frame  INTEGER,                     -- the first frame concerned; NULL: before any frame came
    since        REAL,                        -- its time
    last_frame   INTEGER,                     -- the last frame concerned
    frames       INTEGER NOT NULL,            -- how many are concerned
    until_frame  INTEGER,                     -- at which it was cleared
    until        REAL,                        -- NULL: it lasts
    position     INTEGER,                     -- of the frame that raised it; NULL: the session itself did
    acknowledged REAL                         -- when a person did
);
CREATE INDEX alarms_open ON alarms (until);

CREATE TABLE labels (             -- tracks that an audit drew, and what people said of them
    id        INTEGER PRIMARY KEY,
    particle  INTEGER NOT NULL,               -- particles.id of the sighting that was shown
    drawn     REAL NOT NULL,
    inclusion REAL NOT NULL,                  -- probability with which the track was drawn
    observer  TEXT,                           -- NULL: nobody has looked yet
    class     TEXT CHECK (class IN ('empty', 'null', 'no', 'yes')),
    at        REAL,
    UNIQUE (particle, observer)
);

CREATE TABLE statistics (         -- the running figures after each analysed frame, in order of acquisition
    frame_id  INTEGER PRIMARY KEY REFERENCES results(frame_id) ON DELETE CASCADE,
    position  INTEGER NOT NULL UNIQUE,        -- 1, 2, 3 ... in that order
    at        REAL NOT NULL,                  -- time of acquisition (of arrival where that is unknown)
    n_empty   INTEGER NOT NULL,               -- sightings of each class up to here
    n_null    INTEGER NOT NULL,
    n_no      INTEGER NOT NULL,
    n_yes     INTEGER NOT NULL,
    counted   REAL,                           -- yes / (yes + no) of tracks; NULL where there is none
    corrected REAL,                           -- for how often the bundle errs
    low       REAL,                           -- 95 % interval of `corrected`
    high      REAL,
    t_empty  INTEGER,                         -- tracks of each class up to here, of those that count
    t_null   INTEGER,
    t_no     INTEGER,
    t_yes    INTEGER,
    effective REAL,                           -- how many independent particles the judged tracks are worth
    always_low  REAL,                         -- ends of the confidence sequence, which holds at every look
    always_high REAL,
    labels   INTEGER,                         -- tracks that an observer labelled
    reason   TEXT,                            -- why there is no interval
    state    TEXT                             -- JSON: what the next row follows from
);

CREATE TABLE commands (           -- what a person asked for on the page, its only write; the session answers
    id        INTEGER PRIMARY KEY,
    at        REAL NOT NULL,
    name      TEXT NOT NULL,                  -- such as correct
    arguments TEXT NOT NULL,                  -- JSON; of correct: {"frame": id, "label": n, "class": name or null}
    accepted  INTEGER,                        -- NULL: not looked at yet
    answer    TEXT
);
