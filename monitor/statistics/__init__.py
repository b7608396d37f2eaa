"""The statistics of a session: pure functions of counts, without a clock, a file or a record."""
