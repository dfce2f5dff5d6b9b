"""The command `trm`: words in, one call downwards, words out. Nothing here computes."""
