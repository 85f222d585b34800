"""A system that adds one color to the object, to show what a new system has to bring."""
