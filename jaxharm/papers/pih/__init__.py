"""PIH: Semi-supervised Parametric Real-world Image Harmonization, CVPR 2023, arXiv 2303.00157."""
