"""ProPIH's losses and stages on COCO objects and WikiArt paintings, three seeds each.

Command (again to resume; or written out as jobs: docs/guides/ablations.md):
    jaxharm study --study propih/study_paper --workdir runs/propih_paper --set data.data_dir=DATA
Ours: not yet run.
"""

from jaxharm.studies.ablation import Run, Study

_CONFIG = "propih/coco_wikiart"
_ROWS = (
    *("style_all_layers", "final_only", "no_coarse", "no_detach"),
    *("adain_background", "no_discriminator"),
)


def get_study() -> Study:
    """The study: the released run, and the rows of its paper and of its options."""
    return Study(
        runs=(
            Run("full", _CONFIG),
            *(Run(name, _CONFIG, overlays=(name,)) for name in _ROWS),
        ),
        about="Paper size. No figure of the paper could be read, so that none is shown.",
    )
