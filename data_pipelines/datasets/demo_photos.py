"""The photographs of the demo, with rough outlines of their objects.

The photographs are installed with the packages scikit-image and scikit-learn. `demo.py` refines the
outlines to masks.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.building.findings import DatasetValidationError

Outline = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class DemoPhoto:
    """A photograph of the demo: its package and file, its license and its objects.

    Attributes:
        objects: name -> outline in (x, y) pixels.
    """

    package: str
    file: str
    license: str
    objects: dict[str, Outline]

    def path(self) -> Path:
        """Finds the file on disk.

        Raises:
            DatasetValidationError: if the package or the file is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        folders = (spec.submodule_search_locations or []) if spec else []
        for folder in folders:
            path = Path(folder) / self.file
            if path.is_file():
                return path
        raise DatasetValidationError(
            f"the demo's photograph {self.file} of package {self.package} is not installed; "
            f"install it with: pip install 'jaxharm[demo]'"
        )


PHOTOS = {
    "astronaut": DemoPhoto(
        "skimage",
        "data/astronaut.png",
        "NASA, public domain",
        {
            "person": (
                *((155, 20), (225, 12), (300, 50), (305, 110), (265, 160), (320, 220), (352, 300)),
                *((352, 340), (300, 360), (280, 400), (270, 511), (30, 511), (10, 440), (40, 300)),
                *((90, 220), (120, 180), (170, 150), (150, 80)),
            ),
            "head": (
                *((155, 30), (190, 14), (230, 12), (280, 30), (300, 60), (300, 110), (265, 135)),
                *((255, 170), (225, 190), (190, 175), (180, 140), (152, 110), (150, 70)),
            ),
            "helmet": (
                *((295, 380), (340, 345), (400, 340), (460, 350), (500, 400), (511, 470)),
                *((500, 511), (280, 511), (278, 440)),
            ),
            "shuttle": (
                *((395, 0), (425, 0), (437, 60), (438, 140), (455, 230), (445, 268), (352, 268)),
                *((358, 220), (375, 180), (372, 100), (388, 30)),
            ),
        },
    ),
    "coffee": DemoPhoto(
        "skimage",
        "data/coffee.png",
        "CC0 1.0",
        {
            "saucer": (
                *((170, 70), (200, 28), (260, 10), (340, 12), (400, 40), (430, 70), (470, 120)),
                *((482, 200), (460, 290), (405, 345), (320, 368), (220, 358), (130, 315)),
                *((85, 240), (78, 170), (110, 105)),
            ),
            "cup": (
                *((170, 80), (190, 40), (240, 18), (320, 15), (380, 30), (405, 80), (400, 150)),
                *(
                    (370, 220),
                    (330, 240),
                    (260, 245),
                    (230, 310),
                    (200, 305),
                    (190, 250),
                    (195, 200),
                ),
            ),
            "spoon": (
                *((330, 250), (360, 232), (395, 228), (405, 262), (400, 300), (370, 325)),
                *((335, 318), (322, 285)),
            ),
        },
    ),
    "chelsea": DemoPhoto(
        "skimage",
        "data/chelsea.png",
        "CC0 1.0",
        {
            "cat": (
                *((35, 100), (70, 10), (180, 0), (300, 0), (340, 20), (370, 0), (385, 40)),
                *((360, 80), (350, 150), (320, 220), (290, 270), (230, 299), (100, 299)),
                *((20, 260), (10, 160)),
            )
        },
    ),
    "rocket": DemoPhoto(
        "skimage",
        "data/rocket.jpg",
        "SpaceX, public domain",
        {
            "rocket": (
                *((308, 130), (320, 122), (332, 135), (335, 260), (338, 405), (305, 405)),
                (304, 260),
            )
        },
    ),
    "china": DemoPhoto(
        "sklearn",
        "datasets/images/china.jpg",
        "CC BY 2.0, flickr.com/photos/danielbuechele/6061409035",
        {
            "pagoda": (
                *((195, 60), (205, 30), (220, 60), (300, 110), (340, 150), (340, 200), (330, 290)),
                *((370, 330), (330, 370), (200, 380), (90, 350), (80, 320), (90, 240), (85, 130)),
                (150, 90),
            ),
            "bush": (
                *((340, 330), (400, 290), (470, 285), (540, 300), (560, 330), (560, 420)),
                *((360, 420), (335, 380)),
            ),
            "tree": (
                *((639, 115), (600, 140), (575, 170), (555, 205), (545, 250), (550, 300)),
                *((575, 335), (600, 345), (639, 350)),
            ),
        },
    ),
    "flower": DemoPhoto(
        "sklearn",
        "datasets/images/flower.jpg",
        "CC BY 2.0, flickr.com/photos/vultilion/6056698931",
        {
            "flower": (
                *((170, 200), (185, 130), (230, 90), (310, 85), (400, 120), (440, 190)),
                *((440, 270), (410, 330), (340, 360), (260, 345), (200, 300)),
            ),
            "bud": (*((290, 400), (320, 380), (400, 375), (440, 390), (465, 426), (290, 426)),),
        },
    ),
}
