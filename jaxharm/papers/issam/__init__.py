"""iSSAM: Foreground-aware Semantic Representations for Image Harmonization, arXiv 2006.00809."""
