"""Opening a session's SQLite file: schema version, write-ahead log, one writer, many readers."""

from __future__ import annotations

import os
import sqlite3
from importlib import resources
from pathlib import Path

from monitor.errors import InputError, NoSession

#: The file that makes a folder a session.
DATABASE = "session.sqlite"

#: `PRAGMA user_version` of the schema in record.sql.
SCHEMA_VERSION = 1

#: How long a statement waits for a lock [ms]; readers hold none for longer than a query.
_BUSY_MS = 10_000


def is_session(folder: Path) -> bool:
    """Whether a folder holds a recorded session."""
    return (folder / DATABASE).is_file()


def open_for_writing(folder: Path) -> sqlite3.Connection:
    """The session's database in write-ahead mode, created where there is none yet.

    Raises
    ------
    InputError
        The folder can't be written, or lies where SQLite can't keep a write-ahead log (a network share).
    NoSession
        The file is no session's record, or one of another version.
    """
    path = folder / DATABASE
    try:
        if not path.exists():
            _create(path)
        connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.DatabaseError as error:
        raise _explained(error, path) from error
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
    uri = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(
            f"{uri}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
        )
        try:
            _check_version(connection, path)
        except sqlite3.OperationalError:
            # A write-ahead log needs a writable folder even to read. Where it lies on read-only ground,
            # nobody writes it either, so it may be read as it stands.
            connection.close()
            if path.with_name(f"{DATABASE}-wal").exists():
                raise
            connection = sqlite3.connect(
                f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
            )
            _check_version(connection, path)
    except sqlite3.DatabaseError as error:
        raise NoSession(f"{path} can't be read: {error}", path=path) from error
    return connection


def _create(path: Path) -> None:
    """Lay down an empty record; under its own name it is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    connection = sqlite3.connect(part, isolation_level=None)
    try:
        schema = resources.files("monitor").joinpath("record.sql").read_text(encoding="utf-8")
        connection.executescript(f"BEGIN; {schema}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    finally:
        connection.close()
    os.replace(part, path)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
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
    _check_version(connection, path)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise NoSession(
            f"{path} was written by a newer faultwatch (schema {version}, this one knows {SCHEMA_VERSION}); "
            "use that one",
            path=path,
        )
    raise NoSession(f"{path} is no record of a session (schema {version})", path=path)


def _explained(error: sqlite3.DatabaseError, path: Path) -> InputError:
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and "locked" not in text:
        return InputError(f"{path.parent} can't hold a session: {text}", path=path)
    return NoSession(f"{path} can't be used as a session's record: {text}", path=path)
