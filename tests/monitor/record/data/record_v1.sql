-- The record of one session, schema version 1 (PRAGMA user_version). SQLite in WAL mode; the session is the only writer.
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
    kind       TEXT NOT NULL,     -- directory, pull, sub, ack, replay, list
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
    preview       BLOB                        -- JPEG, 8 bit grey, reduced by area to at most 512 pixels a side
);

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
    UNIQUE (frame_id, label)
);
CREATE INDEX particles_class ON particles (class);

CREATE TABLE statistics (         -- the running figures after each analysed frame, in order of acquisition
    frame_id  INTEGER PRIMARY KEY REFERENCES results(frame_id) ON DELETE CASCADE,
    position  INTEGER NOT NULL UNIQUE,        -- 1, 2, 3 ... in that order
    at        REAL NOT NULL,                  -- time of acquisition (of arrival where that is unknown)
    n_empty   INTEGER NOT NULL,
    n_null    INTEGER NOT NULL,
    n_no      INTEGER NOT NULL,
    n_yes     INTEGER NOT NULL,
    counted   REAL,                           -- yes / (yes + no); NULL where there is none
    corrected REAL,                           -- for sensitivity and specificity (Rogan and Gladen 1978)
    low       REAL,                           -- 95 % interval of `corrected`
    high      REAL
);
