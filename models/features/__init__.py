"""What the forest is told of a region."""
