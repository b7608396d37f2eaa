"""What the models learn from and are judged by: shards of a data set, how they are made harder, and rows of
features."""
