"""The published systems, one folder each.

A folder with an `entry.py` is found by `jaxharm.registry`; nothing else has to name it.
"""
