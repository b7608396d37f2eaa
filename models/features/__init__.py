"""The features of a region, from which the forest names its class."""
