"""Named evaluation protocols: each fixes every choice that changes a metric's value.

Numbers can be compared only under the same protocol: on one composite the choice alone moves fMSE
by 5 % and PSNR by almost 1 dB. The presets follow the published evaluation codes named in `note`;
`default_64`, `default_256` and `default_native` are this project's own. See docs/metrics.md.
"""

import difflib
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypedDict

from jaxharm.errors import InputError


class Loading(TypedDict):
    """How an evaluation set is read; the arguments of `data_pipelines.loader.eval_batches`."""

    image_size: int | None
    image_resize: str
    mask_resize: str


@dataclass(frozen=True)
class Protocol:
    """How images are brought to size and compared.

    Attributes:
        name: the name in configs and result files.
        size: height and width of the comparison (aspect ratio not kept); None: native size.
        image_resize: kernel for the uint8 composite and real image (`jaxharm.images.resize`).
        mask_resize: kernel for the mask.
        mask: the weights of foreground metrics: "binary" is mask > 0.5, "soft" the mask itself.
        mse: "all" pixels, or "masked": mean over the whole image of weight * squared error, which
            ignores errors in the background.
        fmse: "mean" = sum(w d2) / (3 sum w + fmse_eps); "squared" = the mean squared error of the
            masked images times area / sum w, which squares a soft mask; "whole" = the plain MSE
            times area / sum w, which counts background errors; "none" = not defined.
        fmse_eps: added to the denominator of "mean"; 0 leaves an empty mask undefined (NaN).
        strict_mask: refuses masks with values other than 0 and 1.
        peak: PSNR peak: 255, the maximum of the real image, or max - min of the prediction.
        psnr_guard: "floor" = max(MSE, 1e-10), "add" = MSE + 1e-6, "none" (a perfect result is inf).
        ssim: variant, described in structure.py.
        clip: whether the prediction is clipped to the valid range.
        quantize: what happens to the prediction before the comparison; "truncate_normalized" sends
            prediction and real image through x / 127.5 - 1 in float32 and back, then truncates.
        note: the published code, and what is uncertain or differs.
    """

    name: str
    size: int | None
    image_resize: Literal["linear_noaa", "linear_aa", "cubic_aa"] = "linear_noaa"
    mask_resize: Literal["linear", "linear_aa", "linear_binary", "nearest_binary"] = "linear_binary"
    mask: Literal["binary", "soft"] = "binary"
    mse: Literal["all", "masked"] = "all"
    fmse: Literal["mean", "squared", "whole", "none"] = "mean"
    fmse_eps: float = 0.0
    strict_mask: bool = False
    peak: Literal["255", "real_max", "prediction_range"] = "255"
    psnr_guard: Literal["floor", "add", "none"] = "floor"
    ssim: Literal[
        "gauss11_valid", "gauss11_blended", "gauss7_zero", "gauss11_zero_unscaled", "uniform7_valid"
    ] = "gauss11_valid"
    clip: bool = True
    quantize: Literal["none", "round", "truncate", "truncate_normalized"] = "none"
    note: str = ""

    @property
    def loading(self) -> Loading:
        """How the images are read for this protocol."""
        return {
            "image_size": self.size,
            "image_resize": self.image_resize,
            "mask_resize": self.mask_resize,
        }

    @property
    def undefined(self) -> tuple[str, ...]:
        """Metrics that this protocol does not define: NaN for every image."""
        return ("fmse", "fpsnr") if self.fmse == "none" else ()


_NO_SSIM = "The published code defines no SSIM: the project's own variant is reported."
# What several presets share; each preset replaces at least the name and the size.
_SOFT = Protocol(
    "",
    None,
    mask_resize="linear",
    mask="soft",
    fmse_eps=1e-6,
    peak="real_max",
    psnr_guard="add",
)
_MASKED = replace(_SOFT, mse="masked", ssim="gauss11_blended")
_PILLOW = Protocol(
    "", None, mask_resize="nearest_binary", mask="soft", fmse="squared", psnr_guard="none"
)
_STRICT = Protocol(
    "",
    None,
    image_resize="linear_aa",
    mask_resize="nearest_binary",
    fmse_eps=1e-6,
    strict_mask=True,
    peak="real_max",
    psnr_guard="add",
    clip=False,
    note="The release's tools/metrics.py; blended prediction, unclipped.",
)
_HARMONIZER = replace(
    _PILLOW,
    image_resize="linear_aa",
    peak="prediction_range",
    ssim="uniform7_valid",
    note="Harmonizer src/val_harmonizer.py. Its SSIM depends on the library version and cannot be "
    "reproduced with confidence: a data range of 255 is taken.",
)
_PAINTERLY = Protocol(
    "",
    None,
    image_resize="linear_aa",
    mask_resize="linear_aa",
    mask="soft",
    note="Objects on paintings, loaded as for training. There is no ground truth: errors "
    "and PSNR are distances from the pasted composite, where a system has no measures of its own.",
)
_SAMSUNG_NOTE = f"SamsungLabs iharm/inference/metrics.py, also DucoNet and HYouTube. {_NO_SSIM}"
_CDTNET_NOTE = "CDTNet iharm/inference/metrics.py: as SamsungLabs', with its own SSIM and fSSIM."

_PRESETS = [
    Protocol("default_256", 256, note="This project's convention."),
    Protocol(
        "default_64",
        64,
        image_resize="linear_aa",
        note="As default_256, antialiased, for small networks trained at 64x64.",
    ),
    Protocol("default_native", None, note="This project's convention without any resize."),
    *(
        replace(_SOFT, name=f"issam_{s}", size=s, note=_SAMSUNG_NOTE)
        for s in (256, 512, 1024, 2048)
    ),
    *(
        replace(_SOFT, name=f"cdtnet_{s}", size=s, ssim="gauss7_zero", note=_CDTNET_NOTE)
        for s in (256, 512, 1024, 2048)
    ),
    replace(
        _PILLOW,
        name="iharmony4_eval_256",
        size=256,
        image_resize="cubic_aa",
        peak="prediction_range",
        note=f"iHarmony4 evaluation.py, meant for saved 8-bit images. {_NO_SSIM}",
    ),
    Protocol(
        "dovenet_test_256",
        256,
        image_resize="linear_aa",
        fmse="none",
        peak="prediction_range",
        psnr_guard="none",
        quantize="truncate_normalized",
        note=f"DoveNet test.py, which reads no mask: fMSE and fPSNR are undefined. {_NO_SSIM}",
    ),
    replace(_HARMONIZER, name="harmonizer_256", size=256),
    replace(_HARMONIZER, name="harmonizer_native"),
    replace(
        _PILLOW,
        name="harmonytransformer_256",
        size=256,
        image_resize="cubic_aa",
        ssim="gauss11_zero_unscaled",
        note="HarmonyTransformer ih_evaluation.py. It reads saved JPEG results, one more lossy "
        "step that is not repeated here; its SSIM is comparable with no other code.",
    ),
    *(replace(_STRICT, name=f"phnet_{s}", size=s) for s in (256, 512, 1024)),
    replace(
        _MASKED,
        name="pctnet_native",
        peak="255",
        note="PCT-Net iharm/inference/metrics.py: background errors are ignored.",
    ),
    replace(_MASKED, name="dccf_native", note="DCCF iharm/inference/metrics.py."),
    replace(_MASKED, name="dccf_lr", size=256, note="DCCF low-resolution evaluation."),
    replace(_MASKED, name="inr", note="INR-Harmonization, at the native size."),
    Protocol(
        "hdnet_256",
        256,
        fmse="whole",
        note="HDNet train_evaluate.py: fMSE counts background errors as foreground. Its resize "
        f"kernel is not known: the default one is taken. {_NO_SSIM}",
    ),
    *(replace(_PAINTERLY, name=f"painterly_{s}", size=s) for s in (64, 128, 256)),
]
PROTOCOLS: dict[str, Protocol] = {p.name: p for p in _PRESETS}


def get_protocol(protocol: str | Protocol) -> Protocol:
    """The preset of that name (a `Protocol` passes through).

    Raises:
        InputError: unknown name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        close = difflib.get_close_matches(protocol, PROTOCOLS, n=3, cutoff=0.5) or PROTOCOLS
        raise InputError(f"unknown evaluation protocol {protocol!r}; known: {', '.join(close)}")
    return PROTOCOLS[protocol]


def statement(protocol: Protocol) -> dict[str, object]:
    """The protocol as plain JSON values, for result files."""
    values: dict[str, object] = asdict(protocol)
    values["resolution"] = f"{protocol.size}x{protocol.size}" if protocol.size else "native"
    values["blend"] = "as the model's own specification"
    return values
