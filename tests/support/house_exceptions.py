"""What still breaks the rules of tests/test_house.py. Who mends one deletes its line here."""

# folder: the files and folders in it that refer to each other in a circle
CIRCLES: set[str] = set()
# paper: the files outside its rooms that name it
NAMES: dict[str, list[str]] = {}
