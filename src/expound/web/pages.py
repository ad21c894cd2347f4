"""The rater's pages, each a function from a visit to a response.

Nothing a page shows depends on a ballot's policies, split or purpose. Reading changes nothing; what is posted is
stored before anything is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from jinja2 import Environment
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from expound.errors import JudgmentError, StorageError
from expound.ports import Admission, Book, Opened, Queue, Session
from expound.records import Answer, Ballot, BallotKind
from expound.rubric import Rubric
from expound.web import forms, sessions
from expound.web.forms import REASONS, Do, Entered
from expound.web.messages import Language, told
from expound.web.questions import LETTERS, Fault, Question, question_of

RELOAD_SECONDS = 10


@dataclass(frozen=True)
class Site:
    """What all pages stand on; `asked` are the kinds of ballots that the project puts."""

    book: Book
    queue: Queue
    admission: Admission
    rubric: Rubric
    asked: frozenset[BallotKind]
    project: str
    cookie: str
    languages: Mapping[str, Language]
    templates: Environment


@dataclass(frozen=True)
class Visit:
    """One request: what was asked for, by whom (None: nobody we know), in which language."""

    parameters: Mapping[str, str]
    form: Mapping[str, str]
    session: Session | None
    language: Language


@dataclass(frozen=True)
class Entry:
    """A visit of a rater who was let in."""

    visit: Visit
    session: Session

    @property
    def rater(self) -> str:
        return self.session.rater.id


Page = Callable[[Site, Visit], Response]
RaterPage = Callable[[Site, Entry], Response]


class Refusal(Exception):
    """The page cannot be had; `kind` names its sentences in the catalogue."""

    def __init__(self, status: HTTPStatus, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


# --- what every page has ----------------------------------------------------------------------------------------


def render(
    site: Site, visit: Visit, template: str, context: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """Return a page."""
    shared: dict[str, object] = {
        "t": visit.language,
        "languages": site.languages,
        "project": site.project,
        "session": visit.session,
        "form_token": "" if visit.session is None else sessions.form_token(visit.session),
        "bar": None,
    }
    return HTMLResponse(site.templates.get_template(template).render({**shared, **context}), status)


def problem(site: Site, visit: Visit, refusal: Refusal, kept: tuple[str, ...] = ()) -> Response:
    """Return a page that says what is wrong and what to do; `kept` are texts that were entered and not stored."""
    t = visit.language
    context = {"title": t(f"{refusal.kind}_title"), "sentence": t(f"{refusal.kind}_text"), "kept": kept}
    return render(site, visit, "problem.html", context, refusal.status)


def rater_page(page: RaterPage, *, before_start: bool = False) -> Page:
    """Return a page for raters who were let in and, unless it is for before that, have agreed to what is stored."""

    def checked(site: Site, visit: Visit) -> Response:
        if visit.session is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "sign_in")
        if visit.form and not sessions.token_fits(visit.session, visit.form.get("token", "")):
            raise Refusal(HTTPStatus.FORBIDDEN, "forbidden")
        if not (before_start or visit.session.started):
            return _see("/")
        return page(site, Entry(visit, visit.session))

    return checked


def _see(where: str) -> Response:
    return RedirectResponse(where, HTTPStatus.SEE_OTHER)


# --- coming in --------------------------------------------------------------------------------------------------


def invitation(site: Site, visit: Visit) -> Response:
    """Ask whether to come in. Mail scanners and previews open links, so this uses nothing up."""
    token = visit.parameters["token"]
    if not site.admission.look(token):
        if visit.session is not None:
            return _see("/")
        raise Refusal(HTTPStatus.NOT_FOUND, "no_invitation")
    return render(site, visit, "join.html", {"token": token})


def join(site: Site, visit: Visit) -> Response:
    """Use the invitation and give the browser its session."""
    redeemed = site.admission.redeem(visit.parameters["token"])
    if redeemed is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "no_invitation")
    response = _see(f"/?lang={visit.language.code}")
    sessions.set_cookie(response, site.cookie, redeemed[0])
    return response


def home(site: Site, entry: Entry) -> Response:
    """Say what this is and what is stored."""
    return _see("/rate") if entry.session.started else _home(site, entry)


def _home(site: Site, entry: Entry, found: tuple[Fault, ...] = (), status: HTTPStatus = HTTPStatus.OK) -> Response:
    return render(site, entry.visit, "home.html", {"faults": found, "name": entry.session.rater.name}, status)


def start(site: Site, entry: Entry) -> Response:
    """Note consent and language; for somebody who has started, the language."""
    locale = entry.visit.form.get("locale", "")
    if locale not in site.languages:
        locale = entry.visit.language.code
    if not entry.session.started and entry.visit.form.get("agree") != "yes":
        return _home(site, entry, (Fault("agree", "fault_agree"),), HTTPStatus.UNPROCESSABLE_ENTITY)
    site.admission.start(entry.session, locale)
    return _see("/rate")


def leave(site: Site, entry: Entry) -> Response:
    """End the session."""
    site.admission.leave(entry.session)
    response = _see("/")
    sessions.drop_cookie(response, site.cookie)
    return response


# --- judging ----------------------------------------------------------------------------------------------------


def rate(site: Site, entry: Entry) -> Response:
    """Show the ballot in the rater's hands, or the next one, or the page that waits for one."""
    ballot = site.queue.next(entry.rater)
    opened = None if ballot is None else site.queue.open(entry.rater, ballot.id)
    if opened is None:
        return render(site, entry.visit, "wait.html", {"seconds": RELOAD_SECONDS, **_bar(site, entry)})
    return _ballot(site, entry, opened, _again(site, opened))


def change(site: Site, entry: Entry) -> Response:
    """Show a ballot by its id, with the rater's own answer filled in."""
    opened = site.queue.open(entry.rater, entry.visit.parameters["ballot"])
    if opened is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "not_found")
    return _ballot(site, entry, opened, _again(site, opened))


def judge(site: Site, entry: Entry) -> Response:
    """Store what was posted, then go on; a form with faults comes back as it was entered."""
    entered, do = forms.read(entry.visit.form), _what_to_do(entry.visit.form)
    opened = site.queue.open(entry.rater, entry.visit.parameters["ballot"], entered.key or "none")
    if opened is None:
        return problem(site, entry.visit, Refusal(HTTPStatus.NOT_FOUND, "not_found"), _kept(site, entry, entered, do))
    question = _question(site, opened.ballot)
    found = forms.faults(entered, question, do)
    if found:
        return _ballot(site, entry, opened, entered, found)
    answer = forms.answer(entered, opened, question, entry.rater, do=do, locale=entry.visit.language.code)
    try:
        site.book.answer([answer])
    except JudgmentError:
        return _conflict(site, entry, entered, do)
    except StorageError:
        refusal = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not_stored")
        return problem(site, entry.visit, refusal, _in_words(entry, question, entered, do))
    site.queue.accepted(answer)
    return _see("/rate")


def _what_to_do(form: Mapping[str, str]) -> Do:
    match form.get("do"):
        case "judge":
            return "judge"
        case "skip":
            return "skip"
        case _:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "unknown_action")


def _ballot(site: Site, entry: Entry, opened: Opened, entered: Entered, found: tuple[Fault, ...] = ()) -> Response:
    context = {
        "opened": opened,
        "entered": entered,
        "faults": found,
        "faulty": {fault.element for fault in found},
        "question": _question(site, opened.ballot),
        "comparison": told(site.rubric.comparison, entry.visit.language),
        "told": lambda texts: told(texts, entry.visit.language),
        "letters": LETTERS,
        "reasons": REASONS,
        **_bar(site, entry),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if found else HTTPStatus.OK
    return render(site, entry.visit, "ballot.html", context, status)


def _conflict(site: Site, entry: Entry, entered: Entered, do: Do) -> Response:
    """Show the stored answer and the posted one; changing to the posted one is the next revision."""
    opened = site.queue.open(entry.rater, entry.visit.parameters["ballot"])
    assert opened is not None, "a key that is taken belongs to an answer of this rater"
    question, stored = _question(site, opened.ballot), _again(site, opened)
    context = {
        "opened": opened,
        "entered": entered,
        "do": do,
        "stored": _in_words(entry, question, stored, "skip" if stored.reason else "judge"),
        "posted": _in_words(entry, question, entered, do),
        **_bar(site, entry),
    }
    return render(site, entry.visit, "conflict.html", context, HTTPStatus.CONFLICT)


def _in_words(entry: Entry, question: Question, entered: Entered, do: Do) -> tuple[str, ...]:
    t = entry.visit.language
    if do == "judge":
        return (*question.in_words(entered.fields, t), *_texts(entered))
    reason = t(f"reason_{entered.reason}") if entered.reason in REASONS else ""
    return (*((t("skipped_because", {"reason": reason}),) if reason else ()), *_texts(entered))


def _kept(site: Site, entry: Entry, entered: Entered, do: Do) -> tuple[str, ...]:
    """Return what was entered on a ballot that cannot be opened any more."""
    asked = next((one for one in site.book.ballots() if one.id == entry.visit.parameters["ballot"]), None)
    return _texts(entered) if asked is None else _in_words(entry, _question(site, asked), entered, do)


def _texts(entered: Entered) -> tuple[str, ...]:
    return tuple(text for text in (entered.comment, entered.words) if text)


def _question(site: Site, ballot: Ballot) -> Question:
    return question_of(ballot, site.rubric)


def _again(site: Site, opened: Opened) -> Entered:
    return forms.again(opened.previous, _question(site, opened.ballot))


def _bar(site: Site, entry: Entry) -> dict[str, object]:
    last: tuple[Answer, ...] = site.book.answers(entry.rater, 1)
    shown = last and site.queue.open(entry.rater, last[0].ballot) is not None
    return {"bar": site.queue.progress(entry.rater), "last": last[0].ballot if shown else None}


# --- reading ----------------------------------------------------------------------------------------------------


def guide(site: Site, entry: Entry) -> Response:
    """Show the guidelines of the task, the scales if the project has any rated, and the keys."""
    context = {
        "guidelines": told(site.rubric.guidelines, entry.visit.language),
        "scales": site.rubric.criteria if "rating" in site.asked else (),
        "told": lambda texts: told(texts, entry.visit.language),
        "ranked": "ranking" in site.asked,
        **_bar(site, entry),
    }
    return render(site, entry.visit, "guide.html", context)


def health(site: Site, visit: Visit) -> Response:
    """Say whether the site can read its book."""
    del visit
    try:
        site.book.head()
    except StorageError:
        return PlainTextResponse("the database cannot be read\n", HTTPStatus.SERVICE_UNAVAILABLE)
    return PlainTextResponse("ok\n")
