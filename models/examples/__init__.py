"""Examples for training and evaluation: shards, augmentation, randomisation, real frames, rows of features."""
