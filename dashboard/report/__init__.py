"""A session as one page that needs nothing beside itself: read, drawn and written."""
