"""The 24 patches of the ColorChecker chart and their sRGB colors.

Two tables of colors exist. The published one is the mean of many charts; ccHarmony's matrices were
fitted to another, up to 10 levels away, and only that one reproduces its files.

Source: docs/data.md, "Recoloring".
"""

import numpy as np

COLUMNS, ROWS = 6, 4
# From the top left, row by row, of a chart with dark skin at the top left and white at the bottom
# left: name, published color, color that ccHarmony used.
_PATCHES: tuple[tuple[str, tuple[int, int, int], tuple[int, int, int]], ...] = (
    ("dark skin", (115, 82, 68), (116, 81, 67)),
    ("light skin", (194, 150, 130), (199, 147, 129)),
    ("blue sky", (98, 122, 157), (91, 122, 156)),
    ("foliage", (87, 108, 67), (90, 108, 64)),
    ("blue flower", (133, 128, 177), (130, 128, 176)),
    ("bluish green", (103, 189, 170), (92, 190, 172)),
    ("orange", (214, 126, 44), (224, 124, 47)),
    ("purplish blue", (80, 91, 166), (68, 91, 170)),
    ("moderate red", (193, 90, 99), (198, 82, 97)),
    ("purple", (94, 60, 108), (94, 58, 106)),
    ("yellow green", (157, 188, 64), (159, 189, 63)),
    ("orange yellow", (224, 163, 46), (230, 162, 39)),
    ("blue", (56, 61, 150), (35, 63, 147)),
    ("green", (70, 148, 73), (67, 149, 74)),
    ("red", (175, 54, 60), (180, 49, 57)),
    ("yellow", (231, 199, 31), (238, 198, 20)),
    ("magenta", (187, 86, 149), (193, 84, 151)),
    ("cyan", (8, 133, 161), (0, 136, 170)),
    ("white", (243, 243, 242), (245, 245, 243)),
    ("neutral 8", (200, 200, 200), (200, 202, 202)),
    ("neutral 6.5", (160, 160, 160), (161, 163, 163)),
    ("neutral 5", (122, 122, 121), (121, 121, 122)),
    ("neutral 3.5", (85, 85, 85), (82, 84, 86)),
    ("black", (52, 52, 52), (49, 49, 51)),
)


def _from_the_gray_row_up(values: np.ndarray) -> np.ndarray:
    return values.reshape(ROWS, COLUMNS, *values.shape[1:])[::-1].reshape(values.shape)


# u8[24,3], from the top row down.
PUBLISHED = np.array([published for _, published, _ in _PATCHES], np.uint8)
# In the order of ccHarmony's files: the gray row first, then the rows above it.
PATCHES: tuple[str, ...] = tuple(
    _from_the_gray_row_up(np.array([name for name, *_ in _PATCHES])).tolist()
)
STANDARD = _from_the_gray_row_up(np.array([used for *_, used in _PATCHES], np.float64))
