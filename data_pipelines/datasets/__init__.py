"""The published data sets, one file each, and the demo, which is made from sample photographs."""
