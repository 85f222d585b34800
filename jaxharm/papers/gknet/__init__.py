"""GKNet: Learning Global-aware Kernel for Image Harmonization, ICCV 2023, arXiv 2305.11676."""
