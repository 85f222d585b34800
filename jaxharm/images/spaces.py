"""Color spaces: between the space of a picture's profile and sRGB, in full precision.

littlecms, through imagecodecs, says what a profile means; Pillow's form of it knows 8 bits only.
Per pixel, its exact (floating-point) form is slow, and its fast 16-bit form is off by up to 8 % of
the scale for Adobe RGB. A profile that consists of one curve per channel and a matrix, as those of
cameras, monitors and editors do, is therefore sampled once, into tables and a matrix, which are
checked against littlecms; any other profile goes through littlecms pixel by pixel.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxharm.images.bit_depth import LEVELS, from_unit, to_unit
from jaxharm.images.color import from_linear, to_linear
from jaxharm.images.decoded import HDR, MAX_PROFILE_BYTES, DamagedError
from jaxharm.images.png import Color

_TOP = 65535
_SAME = 0.002  # a profile this close to sRGB, half a level of 8 bits, counts as sRGB
_CLOSE = 0.001  # tables this close to littlecms stand for it
_RELATIVE = 1  # the intent: relative colorimetric, which keeps colors and moves white to white
_WHITE = (0.3127, 0.3290)  # D65
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x and y of red, green and blue
# Of ITU-T H.273: x and y of white and of the primaries, by number.
_PRIMARIES = {
    1: (_WHITE, _SRGB),
    9: (_WHITE, (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),  # BT.2020
    11: ((0.314, 0.351), (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),  # DCI P3
    12: (_WHITE, (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),  # Display P3
}
_HDR_REMEDY = "which is high dynamic range; save it as SDR (sRGB, Display P3 or Adobe RGB) first"


@dataclass(frozen=True)
class Space:
    """The RGB space of a profile that is not sRGB.

    Attributes:
        profile: ICC bytes.
        tables: None where littlecms must convert pixel by pixel.
    """

    profile: bytes
    tables: "_Tables | None"

    def to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """Converts u8, u16 or float (in [0,1]) [...,3] to sRGB-encoded f32, clipped to [0,1]."""
        if self.tables is None:
            return _clipped(_convert(to_unit(pixels), self.profile, _srgb_profile()))
        return self.tables.to_srgb(_codes(pixels))

    def from_srgb(self, image: np.ndarray) -> np.ndarray:
        """Converts sRGB-encoded f32[...,3] to f32 in this space, both clipped to [0,1]."""
        image = np.clip(image, 0, 1)
        if self.tables is None:
            return _clipped(_convert(image, _srgb_profile(), self.profile))
        return self.tables.from_srgb(_codes(image))

    def changed(self, pixels: np.ndarray, image: np.ndarray) -> np.ndarray:
        """What `pixels` become where their color is now `image`.

        Only the change is converted and added to the stored values: what did not change keeps its
        bits, and a color that sRGB cannot show keeps what lies outside of sRGB.

        Args:
            pixels: u8, u16 or float [...,3] in this space.
            image: f32[...,3], sRGB-encoded.
        """
        before = self.from_srgb(self.to_srgb(pixels))
        after = self.from_srgb(image)
        return from_unit(to_unit(pixels) + (after - before), pixels.dtype)


@dataclass(frozen=True)
class _Tables:
    """Curves as tables of 2^16 entries, and the matrix from own linear light to that of sRGB.

    Linear light is looked up by its square root, in which all curves of use are nearly straight.
    """

    decode: np.ndarray  # f32[3,65536]: code -> linear light
    encode: np.ndarray  # f32[3,65536]: root of linear light -> [0,1]
    matrix: np.ndarray  # f32[3,3]
    inverse: np.ndarray  # f32[3,3]

    def to_srgb(self, codes: np.ndarray) -> np.ndarray:
        linear = np.stack([self.decode[c][codes[..., c]] for c in range(3)], -1) @ self.matrix.T
        converted: np.ndarray = _srgb_encode()[_roots(linear)]
        return converted

    def from_srgb(self, codes: np.ndarray) -> np.ndarray:
        roots = _roots(_srgb_decode()[codes] @ self.inverse.T)
        return np.stack([self.encode[c][roots[..., c]] for c in range(3)], -1)


@functools.lru_cache(maxsize=32)
def space_of(profile: bytes | None) -> Space | None:
    """The space of an RGB profile; None where it is sRGB (as without a profile).

    Raises:
        DamagedError: a profile that only describes a device, or one of high dynamic range.
    """
    if profile is None:
        return None
    _refuse_hdr(profile)
    colors = _sample_colors()
    try:
        as_srgb = _convert(colors, profile, _srgb_profile())
        back = np.clip(_convert(np.clip(as_srgb, 0, 1), _srgb_profile(), profile), 0, 1)
    except Exception:  # littlecms has no class of errors that tells which direction lacks
        raise DamagedError(
            "its color profile cannot be converted to sRGB and back; convert it to sRGB first"
        ) from None
    if np.abs(np.clip(as_srgb, 0, 1) - colors).max() < _SAME:
        return None
    tables = _tables(profile)
    if tables is not None:
        own = tables.to_srgb(_codes(colors))
        reverse = tables.from_srgb(_codes(np.clip(as_srgb, 0, 1).astype(np.float32)))
        far = np.abs(own - np.clip(as_srgb, 0, 1)).max(), np.abs(reverse - back).max()
        # Near black, curves are steep in one direction: there a difference is of light nobody sees.
        if far[0] > _CLOSE or far[1] > 4 * _CLOSE:
            tables = None
    return Space(profile, tables)


def to_srgb(pixels: np.ndarray, space: Space | None) -> np.ndarray:
    """Pixels [...,3] in a color space (None: sRGB) as sRGB f32 in [0,1]."""
    return to_unit(pixels) if space is None else space.to_srgb(pixels)


def converted(pixels: np.ndarray, space: Space | None, target: Space | None) -> np.ndarray:
    """Pixels [...,3] of one color space (None: sRGB) as f32 in [0,1] of another one."""
    if space == target:
        return to_unit(pixels)
    if space is not None and target is not None:  # sRGB between them would cut their colors off
        return _clipped(_convert(to_unit(pixels), space.profile, target.profile))
    return to_srgb(pixels, space) if target is None else target.from_srgb(to_unit(pixels))


def check_profile(profile: bytes, channels: int) -> tuple[bytes | None, str | None]:
    """Checks an embedded profile.

    Args:
        profile: ICC bytes as embedded.
        channels: of the picture, 1 to 4; 1 and 2 are gray.

    Returns:
        The profile for the picture as RGB, and what is wrong with it where it must be dropped. A
        gray one becomes the RGB profile that gives gray values the same meaning.

    Raises:
        DamagedError: the profile is of high dynamic range.
    """
    from imagecodecs import cms_profile_validate

    if len(profile) > MAX_PROFILE_BYTES:
        return None, f"has more than {MAX_PROFILE_BYTES >> 20} MiB"
    try:
        cms_profile_validate(profile)
    except Exception:  # of the binding, which has several
        return None, "is damaged"
    kind = profile[16:20]
    if kind == b"GRAY" and channels <= 2:
        return _from_gray(profile)
    if kind != b"RGB ":
        what = kind.decode("ascii", "replace").strip()
        return None, f"is for {what} pictures, which this is not"
    _refuse_hdr(profile)
    return profile, None


def profile_from_png(color: Color) -> bytes | None:
    """The ICC profile of what a PNG without one says about its colors; None: sRGB.

    Raises:
        DamagedError: high dynamic range, or primaries that are not known.
    """
    if color.cicp is not None:
        return _from_cicp(*color.cicp)
    if color.srgb or (color.gamma is None and color.chromaticities is None):
        return None
    white: Sequence[float] = _WHITE
    primaries: Sequence[float] = _SRGB
    if color.chromaticities is not None:
        white, primaries = color.chromaticities[:2], color.chromaticities[2:]
    gamma = 1 / 2.2 if color.gamma is None else color.gamma
    # 1/2.2 is how files say sRGB that cannot name its curve.
    curve = _srgb_curve() if abs(gamma - 1 / 2.2) < 0.005 else None
    if not 0.1 < gamma < 10 or not all(0 < v < 1 for v in (white[1], *primaries[1::2])):
        return None  # a mistake of the program that wrote it
    return _rgb_profile(white, primaries, curve=curve, gamma=1 / gamma)


def _from_cicp(primaries: int, transfer: int, matrix: int, full_range: int) -> bytes | None:
    if transfer in HDR:
        raise DamagedError(f"its cICP says {HDR[transfer]}, {_HDR_REMEDY}")
    gammas = {4: 2.2, 5: 2.8, 8: 1.0}
    curves = {1: _bt709_curve, 6: _bt709_curve, 13: _srgb_curve, 14: _bt709_curve, 15: _bt709_curve}
    known = primaries in _PRIMARIES and transfer in {*gammas, *curves}
    if not known or matrix != 0 or full_range != 1:
        raise DamagedError(
            f"its colors (cICP {primaries}, {transfer}, {matrix}, {full_range}) are not supported; "
            "save it as sRGB"
        )
    if (primaries, transfer) == (1, 13):
        return None
    white, corners = _PRIMARIES[primaries]
    curve = curves[transfer]() if transfer in curves else None
    return _rgb_profile(white, corners, curve=curve, gamma=gammas.get(transfer, 1.0))


def _from_gray(profile: bytes) -> tuple[bytes | None, str | None]:
    """An RGB profile whose equal values mean what the gray profile says."""
    ramp = np.linspace(0, 1, 4096, dtype=np.float32)[None]
    try:
        linear = _convert(ramp, profile, _linear_profile(), gray=True)[0, :, 1]
    except Exception:  # as in `space_of`
        return None, "is damaged"
    curve = np.clip(linear, 0, 1)
    if np.abs(from_linear(curve) - ramp[0]).max() < _SAME:
        return None, None
    return _rgb_profile(_WHITE, _SRGB, curve=curve), None


def _refuse_hdr(profile: bytes) -> None:
    count = int.from_bytes(profile[128:132], "big")
    for index in range(min(count, 100)):
        entry = profile[132 + 12 * index : 144 + 12 * index]
        start = int.from_bytes(entry[4:8], "big")
        if entry[:4] == b"cicp" and profile[start + 9 : start + 10]:
            transfer = profile[start + 9]
            if transfer in HDR:
                raise DamagedError(f"its color profile says {HDR[transfer]}, {_HDR_REMEDY}")
        if entry[:4] == b"desc":
            length = int.from_bytes(entry[8:12], "big")
            words = profile[start : start + min(length, 1000)].replace(b"\0", b"")
            found = re.search(rb"(?:^|[^A-Za-z])(PQ|HLG)(?:$|[^A-Za-z])|2100[ _-]?(PQ|HLG)", words)
            if found:
                name = (found[1] or found[2]).decode()
                raise DamagedError(f"its color profile says {name}, {_HDR_REMEDY}")


def _tables(profile: bytes) -> _Tables | None:
    """Samples a profile of curves and a matrix; None where it is no such profile."""
    steps = np.linspace(0, 1, _TOP + 1, dtype=np.float32)
    curves, columns = [], []
    for channel in range(3):
        ramp = np.zeros((1, _TOP + 1, 3), np.float32)
        ramp[0, :, channel] = steps
        linear = _convert(ramp, profile, _linear_profile())[0].astype(np.float64)
        column = linear[-1]
        strongest = int(np.abs(column).argmax())
        if abs(column[strongest]) < 1e-3:
            return None
        curves.append(linear[:, strongest] / column[strongest])
        columns.append(column)
    matrix = np.stack(columns, 1)
    rising = all((np.diff(curve) >= -1e-7).all() for curve in curves)
    if not rising or np.linalg.cond(matrix) > 1e4:
        return None
    light = steps.astype(np.float64) ** 2
    encode = [np.interp(light, np.maximum.accumulate(c), steps) for c in curves]
    single = np.float32
    return _Tables(
        np.array(curves, single),
        np.array(encode, single),
        matrix.astype(single),
        np.linalg.inv(matrix).astype(single),
    )


def _convert(image: np.ndarray, source: bytes, target: bytes, *, gray: bool = False) -> np.ndarray:
    """littlecms in floating point: f32, [h,w] gray or [...,3] -> f32[...,3], not clipped."""
    from imagecodecs import cms_transform

    flat = image if gray else np.ascontiguousarray(image, np.float32).reshape(1, -1, 3)
    converted: np.ndarray = cms_transform(
        flat,
        source,
        target,
        colorspace="gray" if gray else "rgb",
        outcolorspace="rgb",
        outdtype="float32",
        intent=_RELATIVE,
    )
    return converted.reshape(*image.shape, 3) if gray else converted.reshape(image.shape)


def _clipped(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 1, out=image)


def _codes(pixels: np.ndarray) -> np.ndarray:
    """u8, u16 or float in [0,1] -> u16."""
    if pixels.dtype == np.uint16:
        return pixels
    if pixels.dtype.name in LEVELS:
        return pixels.astype(np.uint16) * np.uint16(257)
    codes: np.ndarray = (pixels * np.float32(_TOP) + np.float32(0.5)).astype(np.uint16)
    return codes


def _roots(linear: np.ndarray) -> np.ndarray:
    """The codes by which linear light, clipped to [0,1], is looked up."""
    np.clip(linear, 0, 1, out=linear)
    np.sqrt(linear, out=linear)
    return _codes(linear)


@functools.cache
def _srgb_encode() -> np.ndarray:
    return from_linear(np.linspace(0, 1, _TOP + 1) ** 2).astype(np.float32)


@functools.cache
def _srgb_decode() -> np.ndarray:
    return to_linear(np.linspace(0, 1, _TOP + 1)).astype(np.float32)


@functools.cache
def _sample_colors() -> np.ndarray:
    """f32[1,n,3]: grays and other colors to compare conversions by."""
    grays = np.repeat(np.linspace(0, 1, 64)[:, None], 3, 1)
    others = np.random.default_rng(0).random((448, 3))
    return np.concatenate([grays, others])[None].astype(np.float32)


@functools.cache
def _srgb_profile() -> bytes:
    from imagecodecs import cms_profile

    return bytes(cms_profile("srgb"))


@functools.cache
def _linear_profile() -> bytes:
    return _rgb_profile(_WHITE, _SRGB)


@functools.cache
def _srgb_curve() -> np.ndarray:
    return to_linear(np.linspace(0, 1, 4096))


@functools.cache
def _bt709_curve() -> np.ndarray:
    encoded = np.linspace(0, 1, 4096)
    return np.where(encoded < 0.081, encoded / 4.5, ((encoded + 0.099) / 1.099) ** (1 / 0.45))


def _rgb_profile(
    white: Sequence[float],
    primaries: Sequence[float],
    *,
    curve: np.ndarray | None = None,
    gamma: float = 1.0,
) -> bytes:
    """An ICC profile of x and y of white and primaries, and a curve or an exponent to linear light."""
    from imagecodecs import cms_profile

    return bytes(
        cms_profile(
            "rgb",
            whitepoint=tuple(white),
            primaries=tuple(primaries),
            transferfunction=None if curve is None else curve.astype(np.float32),
            gamma=gamma if curve is None else None,
        )
    )
