"""Run configurations: one file per published training run, overlays for what differs."""
