-- The rules by which the record keeps its own ledger, whoever writes it and with whatever program: they hold
-- without PRAGMA foreign_keys. Laid down with schema.sql, and anew at the end of a migration; every name
-- begins with `ledger`.
--
-- A result makes its frame `analysed`, and without one no frame is. A frame that arrived stays in the ledger.

CREATE VIEW ledger AS             -- one row: arrived = analysed + queued + rejected + dropped
SELECT count(*) AS arrived,
       count(*) FILTER (WHERE state = 'analysed') AS analysed,
       count(*) FILTER (WHERE state = 'queued') AS queued,
       count(*) FILTER (WHERE state = 'rejected') AS rejected,
       count(*) FILTER (WHERE state = 'dropped') AS dropped
FROM frames;

CREATE TRIGGER ledger_frame_comes BEFORE INSERT ON frames
BEGIN
    SELECT RAISE(ABORT, 'a frame is analysed by its result')
    WHERE NEW.state = 'analysed';
    -- INSERT OR REPLACE would forget the older row and fire no trigger for it.
    SELECT RAISE(ABORT, 'this frame is in the ledger already')
    WHERE EXISTS (SELECT 1 FROM frames WHERE id = NEW.id)
       OR EXISTS (SELECT 1 FROM frames
                  WHERE source_id = NEW.source_id AND path = NEW.path
                    AND ifnull(item, -1) = ifnull(NEW.item, -1) AND revision = NEW.revision);
END;

CREATE TRIGGER ledger_frame_stays BEFORE DELETE ON frames
BEGIN
    SELECT RAISE(ABORT, 'a frame that arrived stays in the ledger');
END;

CREATE TRIGGER ledger_frame_keeps_its_number BEFORE UPDATE ON frames WHEN NEW.id IS NOT OLD.id
BEGIN
    SELECT RAISE(ABORT, 'a frame keeps its number');
END;

CREATE TRIGGER ledger_frame_keeps_its_place BEFORE UPDATE OF source_id, path, item, revision ON frames
BEGIN
    SELECT RAISE(ABORT, 'another frame has that place')
    WHERE EXISTS (SELECT 1 FROM frames
                  WHERE source_id = NEW.source_id AND path = NEW.path
                    AND ifnull(item, -1) = ifnull(NEW.item, -1) AND revision = NEW.revision AND id <> OLD.id);
END;

CREATE TRIGGER ledger_state_follows_result BEFORE UPDATE OF state ON frames WHEN NEW.state IS NOT OLD.state
BEGIN
    SELECT RAISE(ABORT, 'a frame is analysed exactly where it has a result')
    WHERE (NEW.state = 'analysed') <> EXISTS (SELECT 1 FROM results WHERE frame_id = OLD.id);
END;

CREATE TRIGGER ledger_result_comes BEFORE INSERT ON results
BEGIN
    SELECT RAISE(ABORT, 'only a queued frame gets a result')
    WHERE NOT EXISTS (SELECT 1 FROM frames WHERE id = NEW.frame_id AND state = 'queued');
END;

CREATE TRIGGER ledger_result_came AFTER INSERT ON results
BEGIN
    UPDATE frames SET state = 'analysed' WHERE id = NEW.frame_id;
END;

CREATE TRIGGER ledger_result_stays_with_its_frame BEFORE UPDATE ON results WHEN NEW.frame_id IS NOT OLD.frame_id
BEGIN
    SELECT RAISE(ABORT, 'a result stays with its frame');
END;

CREATE TRIGGER ledger_result_went AFTER DELETE ON results
BEGIN
    DELETE FROM statistics WHERE frame_id = OLD.frame_id;
    DELETE FROM places WHERE frame_id = OLD.frame_id;
    DELETE FROM particles WHERE frame_id = OLD.frame_id;
    UPDATE frames SET state = 'queued' WHERE id = OLD.frame_id;
END;

CREATE TRIGGER ledger_particle_comes BEFORE INSERT ON particles
BEGIN
    SELECT RAISE(ABORT, 'a particle needs a result')
    WHERE NOT EXISTS (SELECT 1 FROM results WHERE frame_id = NEW.frame_id);
END;

CREATE TRIGGER ledger_particle_stays BEFORE UPDATE ON particles WHEN NEW.frame_id IS NOT OLD.frame_id
BEGIN
    SELECT RAISE(ABORT, 'a particle stays with its frame');
END;

CREATE TRIGGER ledger_source_stays BEFORE DELETE ON sources
BEGIN
    SELECT RAISE(ABORT, 'frames came from this source')
    WHERE EXISTS (SELECT 1 FROM frames WHERE source_id = OLD.id);
END;
