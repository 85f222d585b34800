"""Weights on disk: checkpoints of runs, portable weights, official PyTorch files."""
