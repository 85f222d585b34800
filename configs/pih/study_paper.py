"""PIH's parameters, streams and training pairs on its own data, three seeds each.

Command (again to resume; or written out as jobs: docs/guides/ablations.md):
    jaxharm study --study pih/study_paper --workdir runs/pih_paper --set data.data_dir=DATA
Ours: not yet run.
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "pih/artist_retouched"
_ROWS = (
    *("curves_only", "pixel_output", "light"),
    *("supervised_only", "unsupervised_only", "no_discriminator", "synthetic_pairs"),
)


def get_study() -> Study:
    """The study: the released run, and what its paper leaves out or replaces."""
    return Study(
        runs=(
            Run("full", _CONFIG),
            *(Run(name, _CONFIG, overlays=(name,)) for name in _ROWS),
        ),
        about="Paper size. The paper's table was not at hand, so that no published figures are shown.",
    )
