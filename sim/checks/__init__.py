"""The simulation beside what is known: physics, pictures, real frames."""
