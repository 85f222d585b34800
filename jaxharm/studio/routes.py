"""The studio's own back end: pictures are uploaded once, then looked at, changed and saved."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jaxharm.commands import Stroke
from jaxharm.errors import InputError
from jaxharm.images import encode_image
from jaxharm.images.composing import Placement
from jaxharm.inference.options import check_strength
from jaxharm.studio import notes
from jaxharm.studio.desk import Desk
from jaxharm.studio.limits import MIB, Limits
from jaxharm.studio.models import Models
from jaxharm.studio.requests import read_form, read_json
from jaxharm.studio.scenes import Look, OpenScene, Picture, Store, apply
from jaxharm.studio.service import FORMATS
from jaxharm.studio.uploads import read_mask_of, read_picture, scene_of, with_depth
from jaxharm.studio.views import Region, preview

_PREVIEW = 1600  # longest side
_MOST_STROKES = 5000


class Studio:
    """The routes of the page's back end."""

    def __init__(self, models: Models, desk: Desk, limits: Limits) -> None:
        self._models, self._desk, self._limits = models, desk, limits
        self._store = Store(limits.memory)

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/studio/about", self._about, methods=["GET"]),
            Route("/studio/pictures", self._add_picture, methods=["POST"]),
            Route("/studio/pictures/{name}", self._show_picture, methods=["GET"]),
            Route("/studio/scenes", self._open_scene, methods=["POST"]),
            Route("/studio/looks", self._make_look, methods=["POST"]),
            Route("/studio/view", self._view, methods=["POST"]),
            Route("/studio/result", self._result, methods=["POST"]),
            Route("/studio/file", self._file, methods=["POST"]),
        ]

    async def _about(self, request: Request) -> Response:
        del request
        limits = {"mib": self._limits.upload / MIB, "megapixels": self._limits.megapixels}
        return JSONResponse(
            {"models": self._models.described(), "limits": limits, "formats": [*FORMATS]}
        )

    async def _add_picture(self, request: Request) -> Response:
        form = (await read_form(request, self._limits)).only({"picture"})
        upload = form.file("picture")
        if upload is None:
            raise InputError("picture is missing: send it as a file of that name")

        def work() -> dict[str, Any]:
            with notes.collected() as noted:
                image = read_picture(upload, self._limits)
                _ = image.space  # a profile that cannot be used is told now
            height, width, channels = image.pixels.shape
            name = self._store.put(Picture(upload, image))
            return {
                "picture": name,
                "file": upload.name,
                "width": width,
                "height": height,
                "alpha": channels == 4 and bool((image.pixels[..., 3] != 255).any()),
                "bits": image.pixels.dtype.itemsize * 8,
                "notes": list(noted),
            }

        return JSONResponse(await self._desk.do("read", work))

    async def _show_picture(self, request: Request) -> Response:
        picture: Picture = self._store.get(request.path_params["name"], Picture)
        image = picture.image
        made = await self._desk.do("view", lambda: preview(image.pixels, image.space, _PREVIEW))
        return Response(made, media_type="image/webp")

    async def _open_scene(self, request: Request) -> Response:
        said = await read_json(request)
        composite, mask, background = (
            self._store.get(said[role], Picture) if said.get(role) else None
            for role in ("composite", "mask", "background")
        )
        if composite is None:
            raise InputError("choose a composite, or a cut-out, first")

        def work() -> dict[str, Any]:
            with notes.collected() as noted:
                weights = None
                if mask is not None:
                    weights = read_mask_of(mask.upload, composite.image, self._limits)
                plate = None if background is None else background.image
                scene = scene_of(composite.image, weights, plate, _placement(said))
                opened = OpenScene.of(scene)
            height, width = opened.size
            return {
                "scene": self._store.put(opened),
                "width": width,
                "height": height,
                "bits": scene.inputs.composite.dtype.itemsize * 8,
                "profile": scene.tags.icc_profile is not None,
                "background": scene.inputs.background is not None,
                "notes": list(noted),
            }

        return JSONResponse(await self._desk.do("open", work))

    async def _make_look(self, request: Request) -> Response:
        """Runs the network, and tells what of its prediction can be changed."""
        said = await read_json(request)
        scene = self._scene(said)

        def work() -> dict[str, Any]:
            with notes.collected() as noted:
                look = self._look(said, scene)
                controls = self._models.controls(look.model)
                editable = None if controls is None else controls.editable(look.prediction)
            return {
                "editable": None if editable is None else vars(editable),
                "parametric": look.run.runner.parametric,
                "notes": list(noted),
            }

        return JSONResponse(await self._desk.do("predict", work))

    async def _view(self, request: Request) -> Response:
        said = await read_json(request)
        scene = self._scene(said)
        region = Region.of(said.get("region"), scene.size)

        def work() -> tuple[bytes, float]:
            started = time.perf_counter()
            look = self._look(said, scene) if said.get("model") else None
            return scene.view(region, look), time.perf_counter() - started

        made, seconds = await self._desk.do("view", work)
        timing = {"Server-Timing": f"view;dur={seconds * 1e3:.1f}"}
        return Response(made, media_type="image/jpeg", headers=timing)

    async def _result(self, request: Request) -> Response:
        said = await read_json(request)
        scene, suffix = self._scene(said), said.get("format", "png")
        if suffix not in FORMATS:
            raise InputError(f"format {suffix!r} is not one of {', '.join(FORMATS)}")

        def work() -> bytes:
            look = self._look(said, scene)
            chosen = scene.scene
            if said.get("depth") is not None:
                chosen = with_depth(chosen, said["depth"])
            same = chosen is scene.scene
            result = scene.result(look) if same else apply(look, chosen.inputs)
            return b"".join(encode_image(f"result.{suffix}", result, chosen.tags))

        made = await self._desk.do("save", work)
        return _download(made, f"harmonized.{suffix}", FORMATS[suffix])

    async def _file(self, request: Request) -> Response:
        said = await read_json(request)
        scene, name = self._scene(said), said.get("file")

        def work() -> bytes:
            look = self._look(said, scene)
            controls = self._models.controls(look.model)
            if controls is None or name not in controls.files:
                raise InputError(f"{look.model} saves no {name}")
            return controls.file(str(name), look.prediction, look.strength, look.options)

        return _download(await self._desk.do("save", work), str(name), "application/octet-stream")

    def _scene(self, said: Mapping[str, Any]) -> OpenScene:
        scene: OpenScene = self._store.get(said.get("scene"), OpenScene)
        return scene

    def _look(self, said: Mapping[str, Any], scene: OpenScene) -> Look:
        """The look that a request asks for; the network runs where it has not yet."""
        name = str(said.get("model"))
        values = _typed(said, "options", dict)
        run, options = self._models.get(name), self._models.options(name, values)
        strength = said.get("strength")
        strength = run.strength if strength is None else _number(strength, "strength")
        check_strength(strength)
        prediction = scene.predict(name, run, options)
        curves, strokes = _typed(said, "curves", dict), _typed(said, "strokes", list)
        if curves or strokes:
            controls = self._models.controls(name)
            if controls is None:
                raise InputError(f"{name} has nothing to drag or to paint on")
            prediction = controls.edited(prediction, _curves(curves), _strokes(strokes))
        key = json.dumps([name, strength, values, curves, strokes], sort_keys=True)
        return Look(name, run, prediction, strength, options, key)


def _placement(said: Mapping[str, Any]) -> Placement | None:
    at, scale = said.get("at"), said.get("scale")
    if at is None and scale is None:
        return None
    factor = 1.0 if scale is None else _number(scale, "scale")
    if at is None:
        return Placement(None, factor)
    if not isinstance(at, list) or len(at) != 2:
        raise InputError("at must be two whole numbers")
    column, row = (round(_number(value, "at")) for value in at)
    return Placement((column, row), factor)


def _curves(values: Mapping[str, Any]) -> dict[str, list[float]]:
    return {
        str(name): [_number(value, "a knot") for value in _list(curve, "a curve")]
        for name, curve in values.items()
    }


def _strokes(values: list[Any]) -> list[Stroke]:
    if len(values) > _MOST_STROKES:
        raise InputError(f"{len(values)} strokes are more than {_MOST_STROKES}: undo some")
    found = []
    for value in values:
        numbers = [_number(part, "a stroke") for part in _list(value, "a stroke")]
        if len(numbers) != 4 or not -1 <= numbers[3] <= 1 or not 0 < numbers[2] <= 1:
            raise InputError("a stroke is x, y, a radius up to 1, and an amount from -1 to 1")
        found.append(Stroke(*numbers))
    return found


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{what} must be a list of numbers")
    return value


def _typed(said: Mapping[str, Any], name: str, kind: Callable[[], Any]) -> Any:
    value = said.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind):  # type: ignore[arg-type]  # dict and list are types
        raise InputError(f"{name} must be a JSON {'object' if kind is dict else 'list'}")
    return value


def _number(value: Any, what: str) -> float:
    finite = isinstance(value, int | float) and not isinstance(value, bool)
    if not finite or not -1e9 < value < 1e9:
        raise InputError(f"{what} must be a number, not {value!r}")
    return float(value)


def _download(content: bytes, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)
