"""What may be said to each command of `trm`, and how it is explained: a file for those of a kind."""
