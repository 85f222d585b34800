"""GiftNet: Globally Guided Feature Transformation and Relation Distillation, arXiv 2308.00356.

Built on iSSAM (`jaxharm.papers.issam`), the one paper that this one imports.
"""
