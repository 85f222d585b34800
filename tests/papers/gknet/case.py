"""GKNet's tiny run: the default with one level less, which compiles faster."""

from support.case import Case

# The models that programs outside of this project ask for by name.
CONTRACT = ("gknet",)
CASES = (Case("gknet", options={"depth_levels": 4, "norm_from": 1, "modulate_levels": (2, 1)}),)
