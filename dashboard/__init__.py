"""The page in the browser: reads a session's record and shows it, live or afterwards; `server.serve` is its door."""
