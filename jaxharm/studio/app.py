"""Puts the routes together as one application, with the pages and the rules of safety."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from jaxharm.studio.desk import Desk
from jaxharm.studio.limits import Limits
from jaxharm.studio.models import Models
from jaxharm.studio.requests import answer_error
from jaxharm.studio.routes import Studio
from jaxharm.studio.service import Service
from jaxharm.studio.study import Study

STATIC = Path(__file__).parent / "static"
LOCAL = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    # Pages load nothing from elsewhere, and nobody else may put them into a frame.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_Next = Callable[[Request], Awaitable[Response]]


def make_app(
    models: Models | None,
    limits: Limits,
    *,
    pages: bool = False,
    study: Path | None = None,
    hosts: Sequence[str] = LOCAL,
) -> Starlette:
    """Makes the application.

    Args:
        models: for the service, and for the studio; None: there is neither.
        limits: of requests.
        pages: whether there is a studio.
        study: folder of a study; its page takes the place of the studio's.
        hosts: names by which it may be addressed, so that no other site reaches a local server
            under a name of its own; "*": any.
    """
    desk = Desk(limits)
    routes = list[BaseRoute]()
    if models is not None:
        routes += Service(models, desk, limits).routes()
        if pages:
            routes += [Route("/", _page("studio.html")), *Studio(models, desk, limits).routes()]
    if study is not None:
        routes += [Route("/", _page("study.html")), *Study(study, desk).routes()]
    if pages or study is not None:
        routes.append(Mount("/static", StaticFiles(directory=STATIC)))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        desk.close()

    async def guard(request: Request, call_next: _Next) -> Response:
        if _from_elsewhere(request):
            response: Response = JSONResponse({"error": "requests of other sites are refused"}, 403)
        else:
            sends = request.method not in ("GET", "HEAD")
            try:
                with desk.admitted() if sends else nullcontext():
                    response = await call_next(request)
            except Exception as error:  # the last place where it can be told in our words
                response = answer_error(request, error)
        if response.status_code >= 400:
            desk.refused(str(response.status_code))
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(BaseHTTPMiddleware, dispatch=guard),
        ],
        exception_handlers={404: answer_error, 405: answer_error},
    )


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        del request
        return FileResponse(STATIC / name)

    return show


def _from_elsewhere(request: Request) -> bool:
    """Whether a page of another site sent it."""
    origin = request.headers.get("origin")
    if origin is None or request.method in ("GET", "HEAD"):
        return False
    return urlsplit(origin).netloc != request.headers.get("host")
