"""How every data set is checked, turned into records and written."""
