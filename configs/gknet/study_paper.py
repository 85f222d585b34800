"""GKNet's parts on iHarmony4, three seeds each.

Command (again to resume; or written out as jobs: docs/guides/ablations.md):
    jaxharm study --study gknet/study_paper --workdir runs/gknet_paper --set data.data_dir=DATA
Ours: not yet run.
"""

from jaxharm.studies.ablation import Run, Study
from jaxharm.studies.published import Published

_CONFIG = "gknet/iharmony4"
_ROWS = (
    *("no_lre", "no_modulation"),
    *("scf_sum", "scf_concat"),
    *("kernel_1", "kernel_5", "kernel_shared"),
    *("levels_3", "levels_32"),
)


def get_study() -> Study:
    """The study: the reconstruction, and the rows without a part or with another choice of it."""
    return Study(
        runs=(
            Run("full", _CONFIG),
            *(Run(name, _CONFIG, overlays=(name,)) for name in _ROWS),
        ),
        about="Paper size. A reconstruction: neither code nor recipe was published, and of the paper's "
        "ablation tables no figure could be verified.",
        published=(
            Published(
                source="arXiv 2305.11676, abstract",
                data="iHarmony4 256x256, all test images",
                protocol="not stated",
                rows={"GKNet": {"psnr": 39.53}},
            ),
            Published(
                source="the iHarmony4 repository's table",
                data="iHarmony4 256x256, all test images",
                protocol="the data set's own script",
                rows={"composite": {"fmse": 1387.30, "mse": 172.47, "psnr": 31.63}},
            ),
        ),
    )
