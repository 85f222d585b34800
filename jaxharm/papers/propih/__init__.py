"""ProPIH: Progressive Painterly Image Harmonization, AAAI 2024, arXiv 2312.10264."""
