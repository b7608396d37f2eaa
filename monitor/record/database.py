"""Opening a session's SQLite file: schema version, write-ahead log, one writer, many readers."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from pathlib import Path

from monitor.errors import InputError, NoSession
from monitor.record import totals
from monitor.record.migrations import OLDEST_READABLE, SCHEMA_VERSION, lay_down, migrate, version_of

log = logging.getLogger("faultwatch.record")

#: The file that makes a folder a session.
DATABASE = "session.sqlite"

#: How long a statement waits for a lock [ms]; readers hold none for longer than a query.
_BUSY_MS = 10_000

#: With less than this no write-ahead log can be begun [bytes].
_TOO_LITTLE = 256 * 1024


def is_session(folder: Path) -> bool:
    """Whether a folder holds a recorded session."""
    return (folder / DATABASE).is_file()


def open_for_writing(folder: Path) -> sqlite3.Connection:
    """The session's database in write-ahead mode, created where there is none yet, or an empty file.

    A record of an older version becomes one of this version.

    Raises
    ------
    InputError
        The folder can't be written, is full, or lies where SQLite can't keep a write-ahead log (a network
        share); or another program holds the file.
    NoSession
        The file is no session's record, or a damaged one, or one of a newer version. It is left as it is.
    """
    path = folder / DATABASE
    try:
        if not path.exists() or _is_empty(path):
            _create(path)
        _look_over(path)
        connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise explained(error, path) from error
    return connection


def open_for_reading(folder: Path) -> sqlite3.Connection:
    """A connection that can't change anything and never keeps the writer waiting.

    Raises
    ------
    NoSession
        There is no session's record in the folder, or one of another version, or a damaged one.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise NoSession(f"{folder} holds no session (no {DATABASE} in it)", path=folder)
    try:
        try:
            return _reading(path, "mode=ro")
        except sqlite3.OperationalError as error:
            # A write-ahead log needs a place that can be written even to read. Where it lies on read-only
            # ground, or on a full disk, and nobody writes it, it may be read as it stands.
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if busy or _has_log(path):
                if busy or os.access(path.parent, os.W_OK):
                    raise
                raise NoSession(
                    f"{path} was not closed when it was last written, and can't be read where nothing can be "
                    "written; copy the whole folder to where it can",
                    path=path,
                ) from None
            return _reading(path, "mode=ro&immutable=1")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        why = explained(error, path)
        raise (
            why if isinstance(why, NoSession) else NoSession(f"{path} can't be read: {error}", path=path)
        ) from error


def _reading(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_MS / 1000,
        check_same_thread=False,
    )
    try:
        _check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_empty(path: Path) -> bool:
    """Whether it is what a program leaves that opens a record with plain `sqlite3` before there is one."""
    return path.stat().st_size == 0 and not _has_log(path)


def _has_log(path: Path) -> bool:
    """Whether something was committed that is not in the file itself yet."""
    try:
        return path.with_name(f"{DATABASE}-wal").stat().st_size > 0
    except OSError:
        return False


def explained(error: sqlite3.DatabaseError | UnicodeDecodeError, path: Path) -> InputError:
    """What SQLite said of the record at `path`, as a sentence with the way out."""
    if isinstance(error, UnicodeDecodeError):  # it quotes a damaged schema, which Python can't take for text
        error = _Damaged("malformed database schema")
    text = " ".join(str(error).split())  # of a damaged schema it quotes lines
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the extended codes keep the plain one there
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return NoSession(
                f"{path} is damaged or no record of a session ({text}); it is left as it is. What can be saved "
                f"of it: sqlite3 {path.name} .recover | sqlite3 recovered.sqlite (by the sqlite3 of "
                "sqlite.org; some others lack .recover); its source can be watched again with a new --session",
                path=path,
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return InputError(
                f"{path} is held by another program ({text}); close that one, nothing was changed", path=path
            )
        case sqlite3.SQLITE_READONLY:
            return InputError(f"{path} can't be written ({text})", path=path)
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN if _is_full(path.parent):
            return InputError(f"{path.parent} can't hold a session: the disk is full", path=path)
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            return InputError(f"{path.parent} can't hold a session: {text}", path=path)
        case _:
            return NoSession(f"{path} can't be used as a session's record: {text}", path=path)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _TOO_LITTLE
    except OSError:
        return False


def _create(path: Path) -> None:
    """Create an empty record: written under another name and renamed, so that it is never there in part."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    connection = sqlite3.connect(part, isolation_level=None)
    try:
        lay_down(connection)
    except BaseException:
        connection.close()
        part.unlink(missing_ok=True)
        raise
    connection.close()
    os.replace(part, path)


def _look_over(path: Path) -> None:
    """Whether it is a record of a known version with a ledger that can be read.

    Through a connection that can't write: of a newer version, or of a damaged one, nothing is touched, the
    write-ahead log least of all.
    """
    connection = _reading(path, "mode=ro")
    try:
        problem = connection.execute("PRAGMA quick_check('frames')").fetchone()[0]
        if problem != "ok":
            raise _Damaged(problem)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise InputError(
            f"{path.parent} can't hold a session: SQLite keeps no write-ahead log there (a network share?); "
            "give --session a folder on a local disk",
            path=path,
        )
    # What a kill of this program could take is on disk at every commit; what a power cut could take beyond
    # that (the last seconds of results) is analysed again, because the frames themselves are files.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Whether it can be written at all is to be said now, not at the first frame.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    for version in migrate(connection):
        log.warning("event=record-migrated path=%s from=%d to=%d", path, version, version + 1)
    totals.lay_down(connection)
    connection.execute("PRAGMA foreign_keys = ON")


class _Damaged(sqlite3.DatabaseError):
    """What a look through the ledger found, as SQLite itself would raise it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")  # a damaged schema is to be met with here
    version = version_of(connection)
    if OLDEST_READABLE <= version <= SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise NoSession(
            f"{path} was written by a newer faultwatch (schema {version}, this one knows {SCHEMA_VERSION}); "
            "use that one",
            path=path,
        )
    raise NoSession(f"{path} is no record of a session (schema {version})", path=path)
