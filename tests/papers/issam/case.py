"""iSSAM's tiny runs: everything is the default."""

from support.case import Case

# The models that programs outside of this project ask for by name.
CONTRACT = ("issam",)
CASES = (Case("issam"),)
