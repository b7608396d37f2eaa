"""The virtual microscope: stories of sessions, played as frames."""
