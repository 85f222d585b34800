"""Runs of the tinter."""
