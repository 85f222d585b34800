"""Makes training and evaluation samples from the records of built data sets."""
