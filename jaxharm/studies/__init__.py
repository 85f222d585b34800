"""Several runs compared: ablations over seeds, and the votes of raters."""
