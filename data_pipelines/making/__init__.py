"""Commands that make a data set from photographs."""
