"""Labels that people gave to composites: a csv file with a column `id` and a column of numbers."""

from pathlib import Path

from data_pipelines.building.findings import DatasetValidationError
from jaxharm.csv_files import read_lines


def read_labels(path: str | Path, classes: int) -> dict[str, int]:
    """Reads a label file.

    Args:
        path: its first line is `id,NAME`; NAME is free, such as "stage".
        classes: labels are 1 to this; 0: any number from 0 on.

    Returns:
        Name of a composite -> its label.

    Raises:
        DatasetValidationError: no such file, other columns, no or a repeated name, or a label that
            is no number of the range.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetValidationError(
            f"label file {path} does not exist: set data.labels to a csv file of two columns, the "
            f"first of them id"
        )
    rows, how = read_lines(path)
    header = rows[0][1] if rows else []
    if len(header) != 2 or header[0].casefold() != "id":
        raise DatasetValidationError(
            f"{path} must begin with a line such as: id,stage (it was read as {how})"
        )
    labels: dict[str, int] = {}
    for number, row in rows[1:]:
        if len(row) != 2 or not _in_range(row[1], classes):
            wanted = f"from 1 to {classes}" if classes else "from 0 on"
            raise DatasetValidationError(
                f"{path} line {number}: {','.join(row)} is not an id and a whole number {wanted}"
            )
        if row[0] in labels:
            raise DatasetValidationError(f"{path} line {number}: {row[0]} has a label already")
        labels[row[0]] = int(row[1])
    if not labels:
        raise DatasetValidationError(f"{path} holds no label")
    return labels


def _in_range(text: str, classes: int) -> bool:
    if not (text.isascii() and text.isdigit()):
        return False
    return 1 <= int(text) <= classes if classes else True
