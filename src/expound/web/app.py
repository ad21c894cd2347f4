"""The rating site as an application: guards, routes, what happens to errors.

Pages are complete without a script, ask nothing of other hosts, and carry their one stylesheet inside.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from expound.errors import StorageError
from expound.ports import Admission, Book, Queue
from expound.rubric import Rubric
from expound.settings import Settings
from expound.web import pages
from expound.web.guards import BoundedBodies, KnownHosts, OwnForms, SafeHeaders, safe_headers
from expound.web.messages import choose, load_languages
from expound.web.pages import Page, Refusal, Site, Visit, rater_page

FOLDER = Path(__file__).parent
STATIC = {"rate.js": "text/javascript", "icon.svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"
MAX_FIELDS = 50
COMPRESSED_ABOVE = 1000

ROUTES: Mapping[str, Mapping[str, Page]] = {
    "/join/{token}": {"GET": pages.invitation, "POST": pages.join},
    "/": {"GET": rater_page(pages.home, before_start=True)},
    "/start": {"POST": rater_page(pages.start, before_start=True)},
    "/rate": {"GET": rater_page(pages.rate)},
    "/rate/{ballot}": {"GET": rater_page(pages.change), "POST": rater_page(pages.judge)},
    "/guide": {"GET": rater_page(pages.guide, before_start=True)},
    "/leave": {"POST": rater_page(pages.leave, before_start=True)},
    "/healthz": {"GET": pages.health},
}

REFUSALS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
}


def build(book: Book, queue: Queue, admission: Admission, rubric: Rubric, settings: Settings) -> FastAPI:
    """Return the site of a project. It works in threads, so book, queue and admission must be fit for that."""
    style, languages = _style(), load_languages()
    templates = _templates(style)
    cookie = f"expound-{admission.answer_key('cookie', '', 0)[:8]}"  # cookies do not tell two ports of a machine apart
    asked = frozenset(settings.asking.ballots)
    site = Site(book, queue, admission, rubric, asked, settings.project.name, cookie, languages, templates)
    app = FastAPI(title="expound", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for path, methods in ROUTES.items():
        app.add_route(path, _endpoint(site, methods), methods=list(methods))
    app.add_route("/static/{digest}/{name}", _static, methods=["GET"])
    _catch(app, site)
    # The last one added stands outermost.
    app.add_middleware(BoundedBodies)
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_ABOVE, compresslevel=5)
    app.add_middleware(OwnForms)
    app.add_middleware(KnownHosts, host=settings.site.host)
    app.add_middleware(SafeHeaders, headers=safe_headers(style))
    return app


def _endpoint(site: Site, methods: Mapping[str, Page]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        form = await _form(request)
        page = methods["GET" if request.method == "HEAD" else request.method]
        return await run_in_threadpool(_serve, site, request, form, page)

    return answer


async def _form(request: Request) -> Mapping[str, str]:
    """Return the texts of a form; what is no form is one without a token, which no page takes."""
    if request.method != "POST":
        return {}
    async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
        return {"token": "", **{name: value for name, value in form.items() if isinstance(value, str)}}


def _serve(site: Site, request: Request, form: Mapping[str, str], page: Page) -> Response:
    visit = _visit(site, request, form)
    try:
        return page(site, visit)
    except Refusal as refusal:
        return pages.problem(site, visit, refusal)


def _visit(site: Site, request: Request, form: Mapping[str, str]) -> Visit:
    cookie = request.cookies.get(site.cookie, "")
    session = site.admission.session(cookie) if cookie else None
    asked = (request.query_params.get("lang", ""), session.locale if session is not None else "")
    language = choose(site.languages, asked, request.headers.get("accept-language", ""))
    parameters = {name: str(value) for name, value in request.path_params.items()}
    return Visit(parameters, form, session, language)


def _catch(app: FastAPI, site: Site) -> None:
    def page(request: Request, status: HTTPStatus, kind: str) -> Response:
        language = choose(site.languages, (), request.headers.get("accept-language", ""))
        return pages.problem(site, Visit({}, {}, None, language), Refusal(status, kind))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        response = page(request, status, REFUSALS.get(status, "not_understood"))
        response.headers.update(error.headers or {})
        return response

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, StorageError):
            return page(request, HTTPStatus.SERVICE_UNAVAILABLE, "not_stored")
        return page(request, HTTPStatus.INTERNAL_SERVER_ERROR, "bug")

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(StorageError, failed)
    app.add_exception_handler(Exception, failed)


# --- files ------------------------------------------------------------------------------------------------------


def _style() -> str:
    text = re.sub(r"/\*.*?\*/", "", (FOLDER / "static" / "site.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _digest() -> str:
    contents = b"".join((FOLDER / "static" / name).read_bytes() for name in STATIC)
    return hashlib.sha256(contents).hexdigest()[:12]


def _templates(style: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(style=Markup(style), static=f"/static/{_digest()}")
    return environment


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    content = (FOLDER / "static" / name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": FOREVER})
