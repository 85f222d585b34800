"""What requests say: forms within the limits, numbers and texts checked, errors as one sentence."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from jaxharm.errors import InputError
from jaxharm.studio.limits import BusyError, GoneError, LateError, Limits, TooLargeError
from jaxharm.studio.uploads import Upload, upload_of

_log = logging.getLogger(__name__)
_STATUS: Mapping[type[Exception], int] = {
    TooLargeError: 413,
    GoneError: 410,
    BusyError: 503,
    LateError: 504,
    InputError: 400,
}
_MOST_JSON = 4 * 2**20  # bytes: curves and strokes
# Parts of forms stay in memory: nothing that is uploaded is written to a disk.
MultiPartParser.spool_max_size = 2**62


class Form:
    """The fields of a request: files, and texts."""

    def __init__(self, files: Mapping[str, Upload], texts: Mapping[str, str]) -> None:
        self._files, self._texts = files, texts

    def file(self, name: str) -> Upload | None:
        """An uploaded file; None where there is none."""
        return self._files.get(name)

    def text(self, name: str, default: str = "") -> str:
        """A text field."""
        return self._texts.get(name, default)

    def number(self, name: str, default: float) -> float:
        """A number; InputError where it is none."""
        text = self._texts.get(name, "")
        try:
            return float(text) if text else default
        except ValueError:
            raise InputError(f"{name} {text!r} is not a number") from None

    def only(self, known: set[str]) -> "Form":
        """InputError where a field has another name."""
        if unknown := sorted({*self._files, *self._texts} - known):
            raise InputError(
                f"unknown field {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        return self


async def read_form(request: Request, limits: Limits) -> Form:
    """A form of at most `limits.upload` bytes."""
    body = await read_body(request, limits.upload)

    async def stream() -> Any:
        yield body

    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise InputError("send a form (multipart/form-data) with the pictures as files")
    parser = MultiPartParser(
        request.headers, stream(), max_files=8, max_fields=32, max_part_size=_MOST_JSON
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise InputError(f"the form cannot be read: {error}") from None
    files, texts = dict[str, Upload](), dict[str, str]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files[name] = upload_of(name, value.filename, await value.read())
        else:
            texts[name] = str(value)
    await form.close()
    return Form(files, texts)


async def read_body(request: Request, most: int) -> bytes:
    """The body, in memory; TooLargeError as soon as it is known to be above `most` bytes."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise TooLargeError(_too_large(most))
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLargeError(_too_large(most))
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request) -> dict[str, Any]:
    """A JSON object."""
    try:
        values = json.loads(await read_body(request, _MOST_JSON))
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON") from None
    if not isinstance(values, dict):
        raise InputError("the request must be a JSON object")
    return values


def answer_error(request: Request, error: Exception) -> Response:
    """One sentence for the client; what was not foreseen goes to the log, not to the client."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            headers = {"Retry-After": "1"} if status == 503 else None
            return JSONResponse({"error": str(error)}, status, headers)
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    sentence = "an error that was not foreseen; the server's log has more"
    return JSONResponse({"error": sentence}, 500)


def _too_large(most: int) -> str:
    return (
        f"the request is above the limit of {most / 2**20:g} MiB; send smaller files, or start the "
        "server with --max-mb"
    )
