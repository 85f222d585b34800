"""Makes a set like ccHarmony from photographs with a color chart."""
