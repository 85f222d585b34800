"""The HTTP service: a composite in, the harmonized picture out, for programs in any language."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jaxharm import __version__
from jaxharm.errors import InputError
from jaxharm.images import encode_image
from jaxharm.images.composing import Placement, placement_of
from jaxharm.inference.options import check_strength
from jaxharm.studio import notes
from jaxharm.studio.desk import Desk
from jaxharm.studio.limits import Limits
from jaxharm.studio.models import Models
from jaxharm.studio.requests import Form, read_form
from jaxharm.studio.uploads import read_mask_of, read_picture, scene_of, with_depth

FORMATS = {
    "png": "image/png",
    "tif": "image/tiff",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "bmp": "image/bmp",
}
_FIELDS = {
    *("composite", "mask", "background", "at", "scale"),
    *("model", "strength", "options", "format", "depth"),
}


@dataclass(frozen=True)
class Answer:
    """A picture as a file, and what was noted while it was made."""

    content: bytes
    kind: str
    notes: Sequence[str]


class Service:
    """The routes of the API."""

    def __init__(self, models: Models, desk: Desk, limits: Limits) -> None:
        self._models, self._desk, self._limits = models, desk, limits

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/v1/harmonize", self._harmonize, methods=["POST"]),
            Route("/v1/models", self._list, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]

    async def _harmonize(self, request: Request) -> Response:
        form = (await read_form(request, self._limits)).only(_FIELDS)
        answer = await self._desk.do("harmonize", lambda: self._made(form))
        told = json.dumps(list(answer.notes))  # ASCII, as headers must be
        return Response(answer.content, media_type=answer.kind, headers={"X-Jaxharm-Notes": told})

    def _made(self, form: Form) -> Answer:
        strength, options = _strength(form), _options(form)
        suffix = form.text("format", "png")
        if suffix not in FORMATS:
            raise InputError(f"format {suffix!r} is not one of {', '.join(FORMATS)}")
        composite, mask, background = (form.file(n) for n in ("composite", "mask", "background"))
        if composite is None:
            raise InputError("composite is missing: send the picture as a file of that name")
        name = form.text("model") or next(iter(self._models.folders))
        with notes.collected() as noted:
            picture = read_picture(composite, self._limits)
            weights = None if mask is None else read_mask_of(mask, picture, self._limits)
            plate = None if background is None else read_picture(background, self._limits)
            scene = scene_of(picture, weights, plate, placed(form.text("at"), form.text("scale")))
            if form.text("depth"):
                scene = with_depth(scene, int(form.number("depth", 8)))
            run, chosen = self._models.get(name), self._models.options(name, options)
            strength = run.strength if strength is None else strength
            check_strength(strength)
            result = run.runner.run(scene.inputs, strength, chosen)
            file = PurePath("result").with_suffix(f".{suffix}")
            content = b"".join(encode_image(file, result, scene.tags))
        return Answer(content, FORMATS[suffix], noted)

    async def _list(self, request: Request) -> Response:
        del request
        return JSONResponse(self._models.described())

    async def _health(self, request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok", "version": __version__})

    async def _metrics(self, request: Request) -> Response:
        del request
        return Response(self._desk.metrics(), media_type="text/plain; version=0.0.4")


def placed(at: str, scale: str) -> Placement | None:
    """A placement from "X,Y" and a factor; None where both are empty."""
    corner = None
    try:
        if at:
            column, row = (int(part) for part in at.split(","))
            corner = (column, row)
        factor = float(scale) if scale else None
    except ValueError:
        raise InputError(f"at {at!r} and scale {scale!r} are not like 640,210 and 0.5") from None
    return placement_of(corner, factor)


def _strength(form: Form) -> float | None:
    return form.number("strength", 1.0) if form.text("strength") else None


def _options(form: Form) -> dict[str, object]:
    text = form.text("options", "{}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("options are not JSON") from None
    if not isinstance(values, dict):
        raise InputError('options must be a JSON object, such as {"blend": "color"}')
    return values
