"""Application of the page: its paths, each a small function that asks the keeper."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from auditor.errors import TooManyAsk
from auditor.reports.html.templating import stylesheet
from auditor.watch.web.event_streams import EventStreams
from auditor.watch.web.page_guard import EVENTS
from auditor.watch.web.page_keeper import PageKeeper
from auditor.watch.web.target_pages import TargetKind
from auditor.watch.web.watch_metrics import CONTENT_TYPE


# A name may hold a slash, or a line end.
class _Anything(Convertor[str]):
    """Rest of a path, whatever it is."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())
_HTML = "text/html; charset=utf-8"
_LATER = {"retry-after": "5"}


def page_app(keeper: PageKeeper, streams: EventStreams) -> ASGIApp:
    """Make the application."""
    answers = _Answers(keeper)
    return Starlette(
        routes=[
            Route("/", answers.page),
            Route("/address/{target:anything}", answers.address),
            Route("/node/{target:anything}", answers.node),
            _EventRoute(streams),
            Route("/api/v1/report", answers.report),
            Route("/metrics", answers.metrics),
            Route("/-/healthy", answers.healthy),
            Route("/-/ready", answers.ready),
            *(Route(path, _static(body, kind)) for path, body, kind in _files()),
        ],
        exception_handlers={404: _unknown},
    )


class _Answers:
    """Answers to each path."""

    def __init__(self, keeper: PageKeeper) -> None:
        self._keeper = keeper

    async def page(self, _request: Request) -> Response:
        return Response(await self._keeper.page(), media_type=_HTML)

    async def address(self, request: Request) -> Response:
        return await self._target(TargetKind.ADDRESS, request)

    async def node(self, request: Request) -> Response:
        return await self._target(TargetKind.NODE, request)

    async def _target(self, kind: TargetKind, request: Request) -> Response:
        try:
            made = await self._keeper.target(kind, request.path_params["target"])
        except TooManyAsk:
            return PlainTextResponse("too many pages are being made; ask again\n", 503, _LATER)
        return Response(made.body, made.status, media_type=_HTML)

    async def report(self, request: Request) -> Response:
        made = await self._keeper.report()
        if made is None:
            return PlainTextResponse("nothing was read yet\n", 503, _LATER)
        headers = {"etag": made.etag, "cache-control": "no-cache"}
        if _is_known(request.headers.get("if-none-match", ""), made.etag):
            return Response(status_code=304, headers=headers)
        return Response(made.body, headers=headers, media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        return Response(await self._keeper.metrics(), headers={"content-type": CONTENT_TYPE})

    async def healthy(self, _request: Request) -> Response:
        sick = self._keeper.sick
        return PlainTextResponse(f"{sick}\n" if sick else "healthy\n", 503 if sick else 200)

    async def ready(self, _request: Request) -> Response:
        if self._keeper.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the registry was not read whole yet\n", 503, _LATER)


async def _unknown(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("no such page; the page of the watch is /\n", 404)


class _EventRoute(BaseRoute):
    """Path of the event streams, which write for themselves."""

    def __init__(self, streams: EventStreams) -> None:
        self._streams = streams

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the one path."""
        return (Match.FULL if scope["path"] == EVENTS else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a listener, or refuse one too many."""
        if self._streams.full:
            full = PlainTextResponse("there are enough listeners; come back later\n", 503, _LATER)
            await full(scope, receive, send)
        else:
            await self._streams.serve(scope, receive, send)


def _is_known(given: str, etag: str) -> bool:
    """Tell whether If-None-Match names this entity; weak and strong tags are alike there (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return etag in tags or "*" in tags


def _files() -> list[tuple[str, bytes, str]]:
    folder = files("auditor.watch.web") / "static"
    css, script = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
    return [
        ("/static/page.css", stylesheet("page.css").encode(), css),
        ("/static/watch.css", (folder / "watch.css").read_bytes(), css),
        ("/static/watch.js", (folder / "watch.js").read_bytes(), script),
    ]


def _static(body: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "no-cache", "content-type": kind}

    async def answer(request: Request) -> Response:
        if _is_known(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    return answer
