"""PHNet: Patch-based Normalization for Portrait Harmonization, arXiv 2402.17561."""
