"""Named evaluation protocols: every choice that changes a metric's value, under one name.

Numbers are comparable only under the same protocol: on one composite the choice alone moves fMSE
by 5 % and PSNR by almost 1 dB. The presets follow the published evaluation codes named in `note`;
`default_64`, `default_256` and `default_native` are this project's own convention.
"""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, Literal

from jaxharm.errors import InputError


@dataclass(frozen=True)
class Protocol:
    """How images are brought to size and compared.

    Attributes:
        name: what result files state.
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
    def loading(self) -> dict[str, Any]:
        """Keyword arguments of `data_pipelines.loader.eval_batches` for this protocol."""
        return {
            "image_size": self.size,
            "image_resize": self.image_resize,
            "mask_resize": self.mask_resize,
        }


_NO_SSIM = "The published code defines no SSIM: the project's own variant is reported."
_ISSAM: dict[str, Any] = {
    "mask_resize": "linear",
    "mask": "soft",
    "fmse_eps": 1e-6,
    "peak": "real_max",
    "psnr_guard": "add",
}
_MASKED = {**_ISSAM, "mse": "masked", "ssim": "gauss11_blended"}
_PILLOW: dict[str, Any] = {
    "mask_resize": "nearest_binary",
    "mask": "soft",
    "fmse": "squared",
    "psnr_guard": "none",
}
_PHNET: dict[str, Any] = {
    "image_resize": "linear_aa",
    "mask_resize": "nearest_binary",
    "fmse_eps": 1e-6,
    "strict_mask": True,
    "peak": "real_max",
    "psnr_guard": "add",
    "clip": False,
    "note": "PHNet tools/metrics.py; blended prediction, unclipped.",
}
_HARMONIZER: dict[str, Any] = {
    **_PILLOW,
    "image_resize": "linear_aa",
    "peak": "prediction_range",
    "ssim": "uniform7_valid",
    "note": "Harmonizer src/val_harmonizer.py. Its SSIM depends on the library version and cannot be "
    "reproduced with confidence: a data range of 255 is taken.",
}
_ISSAM_NOTE = f"SamsungLabs iharm/inference/metrics.py, also DucoNet and HYouTube. {_NO_SSIM}"
_CDTNET_NOTE = "CDTNet iharm/inference/metrics.py: as issam, with its SSIM and fSSIM."

_PRESETS = [
    Protocol("default_256", 256, note="This project's convention."),
    Protocol(
        "default_64",
        64,
        image_resize="linear_aa",
        note="As default_256, antialiased, for small networks trained at 64x64.",
    ),
    Protocol("default_native", None, note="This project's convention without any resize."),
    *(Protocol(f"issam_{s}", s, **_ISSAM, note=_ISSAM_NOTE) for s in (256, 512, 1024, 2048)),
    *(
        Protocol(f"cdtnet_{s}", s, **_ISSAM, ssim="gauss7_zero", note=_CDTNET_NOTE)
        for s in (256, 512, 1024, 2048)
    ),
    Protocol(
        "iharmony4_eval_256",
        256,
        **_PILLOW,
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
    Protocol("harmonizer_256", 256, **_HARMONIZER),
    Protocol("harmonizer_native", None, **_HARMONIZER),
    Protocol(
        "harmonytransformer_256",
        256,
        **_PILLOW,
        image_resize="cubic_aa",
        ssim="gauss11_zero_unscaled",
        note="HarmonyTransformer ih_evaluation.py. It reads saved JPEG results, one more lossy "
        "step that is not repeated here; its SSIM is comparable with no other code.",
    ),
    *(Protocol(f"phnet_{s}", s, **_PHNET) for s in (256, 512, 1024)),
    Protocol(
        "pctnet_native",
        None,
        **{**_MASKED, "peak": "255"},
        note="PCT-Net iharm/inference/metrics.py: background errors are ignored.",
    ),
    Protocol("dccf_native", None, **_MASKED, note="DCCF iharm/inference/metrics.py."),
    Protocol("dccf_lr", 256, **_MASKED, note="DCCF low-resolution evaluation."),
    Protocol("inr", None, **_MASKED, note="INR-Harmonization, at the native size."),
    Protocol(
        "hdnet_256",
        256,
        fmse="whole",
        note="HDNet train_evaluate.py: fMSE counts background errors as foreground. Its resize "
        f"kernel is not known: the default one is taken. {_NO_SSIM}",
    ),
    *(
        Protocol(
            f"painterly_{s}",
            s,
            image_resize="linear_aa",
            mask_resize="linear_aa",
            mask="soft",
            note="Objects on paintings, loaded as ProPIH trains. There is no truth: the numbers are "
            "distances from the pasted composite.",
        )
        for s in (64, 128, 256)
    ),
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


def statement(protocol: Protocol) -> dict[str, Any]:
    """Everything a result file must say of its protocol, as plain JSON values."""
    values = dataclasses.asdict(protocol)
    values["resolution"] = f"{protocol.size}x{protocol.size}" if protocol.size else "native"
    values["blend"] = "as the model's own specification"
    return values
