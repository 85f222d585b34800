"""PHNet's PN blocks, bottleneck, loss and optimizer on FFHQH, three seeds each.

Command (again to resume; or written out as jobs: docs/guides/ablations.md):
    jaxharm study --study phnet/study_paper --workdir runs/phnet_paper --set data.data_dir=DATA
Ours: not yet run.
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "phnet/ffhqh"
_ROWS = (
    *("pn_none", "pn_last", "pn_last_2", "pn_last_4", "pn_all", "pn_first_3"),
    *("no_pfe", "no_se", "no_gates"),
    *("no_psnr", "no_fnmse", "no_gradient"),
    *("adam", "adamw"),
)


def get_study() -> Study:
    """The study: the released run, which has the last three PN blocks and Lion, and the other rows."""
    return Study(
        runs=(
            Run("full", _CONFIG),
            *(Run(name, _CONFIG, overlays=(name,)) for name in _ROWS),
        ),
        about="Paper size. The construction of FFHQH is ours, as the released one's is not public; the "
        "paper's table was not at hand, so that no published figures are shown.",
    )
