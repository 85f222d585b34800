"""The tinter's tiny run."""

from support.case import Case

# The models that programs outside of this project ask for by name.
CONTRACT = ()
CASES = (Case("tinter"),)
