"""Builds, checks and reads data sets, and makes batches of samples from them; loads no JAX."""
