"""How any data set is checked and written."""
