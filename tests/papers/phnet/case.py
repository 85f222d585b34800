"""PHNet's tiny runs: everything is the default."""

from support.case import Case

# The models that programs outside of this project ask for by name.
CONTRACT = ("phnet_ffhqh", "phnet_iharmony4")
CASES = (Case("phnet_ffhqh"), Case("phnet_iharmony4"))
