"""The record: one session's file on disk. The session writes it, everything else only reads it."""

from monitor.record.database import DATABASE, SCHEMA_VERSION, is_session
from monitor.record.lock import SessionLock
from monitor.record.reader import RecordReader
from monitor.record.rows import FinishedFrame, FrameRow, SourceRow, StatisticsRow
from monitor.record.writer import RecordWriter, Taken

__all__ = [
    "DATABASE",
    "SCHEMA_VERSION",
    "FinishedFrame",
    "FrameRow",
    "RecordReader",
    "RecordWriter",
    "SessionLock",
    "SourceRow",
    "StatisticsRow",
    "Taken",
    "is_session",
]
