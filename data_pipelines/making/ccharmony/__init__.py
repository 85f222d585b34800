"""Makes a data set like ccHarmony from photographs with a color chart."""
