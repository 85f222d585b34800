"""Loss terms that two or more papers use, or that are general."""
