"""The record: one session's file on disk. The session writes it, everything else only reads it."""

from monitor.record.database import DATABASE, explained, is_session
from monitor.record.identity import Taken
from monitor.record.lock import SessionLock
from monitor.record.migrations import SCHEMA_VERSION
from monitor.record.reader import RecordReader
from monitor.record.rows import FrameRow, Recorded, SourceRow
from monitor.record.writer import RecordWriter

__all__ = [
    "DATABASE",
    "SCHEMA_VERSION",
    "FrameRow",
    "RecordReader",
    "RecordWriter",
    "Recorded",
    "SessionLock",
    "SourceRow",
    "Taken",
    "explained",
    "is_session",
]
