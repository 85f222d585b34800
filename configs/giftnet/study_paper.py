"""GiftNet's two parts, from iHarmony4 to ccHarmony, three seeds each; the row without both is iSSAM.

Command (again to resume; or written out as jobs: docs/guides/ablations.md):
    jaxharm study --study giftnet/study_paper --workdir runs/giftnet_paper --set data.data_dir=DATA
Ours: not yet run.
"""

from jaxharm.studies.ablation import Run, Study
from jaxharm.studies.published import Published

_TEACHER = ("objective.teacher={teacher}",)


def _row(name: str, overlays: tuple[str, ...] = (), sets: tuple[str, ...] = ()) -> tuple[Run, Run]:
    """A run on iHarmony4, and the row: fine-tuned from it on ccHarmony."""
    first = f"{name}_iharmony4"
    start = f"init_from={{{first}}}"
    return (
        Run(first, "giftnet/iharmony4", overlays=overlays, sets=sets, measured=False),
        Run(name, "giftnet/ccharmony_finetune", overlays=overlays, sets=(start, *sets)),
    )


def get_study() -> Study:
    """The study. One teacher serves all seeds."""
    return Study(
        runs=(
            *_row("issam", overlays=("issam",)),
            *_row("gift_no_rd", overlays=("gift_no_rd",)),
            *_row("gift_local", overlays=("gift_local", "gift_no_rd")),
            Run("teacher", "giftnet/teacher", measured=False, once=True),
            *_row("rd_only", overlays=("rd_only",), sets=_TEACHER),
            *_row("full", sets=_TEACHER),
        ),
        about="Paper size. The authors released neither code nor recipe; of the paper's tables on "
        "iHarmony4 no figure could be verified.",
        published=(
            Published(
                source="the ccHarmony repository's table",
                data="ccHarmony 256x256, test, after iHarmony4",
                protocol="not stated; its fSSIM script is not known",
                rows={
                    "iSSAM": {"fmse": 264.84, "mse": 28.83, "psnr": 36.05, "fssim": 0.9096},
                    "GiftNet": {"fmse": 235.20, "mse": 24.55, "psnr": 37.59, "fssim": 0.9322},
                },
            ),
        ),
    )
