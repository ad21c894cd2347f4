"""Coming in and going: invitations, consent, sessions, and what strangers see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from expound.records import Rater
from expound.store.admission import Admission
from expound.store.book import open_book
from expound.web.app import ROUTES
from expound.web.sessions import form_token, token_fits
from tests.support.browsing import OWN, Shown, Visitor
from tests.support.site import FERRY, make_site, site_above


def test_opening_an_invitation_changes_nothing() -> None:
    site = make_site(FERRY)
    token, head = site.admission.invite("Ana"), site.book.head()
    scanner = Visitor(site.app)
    for _ in range(3):
        shown = scanner.get(f"/join/{token}")
        assert scanner.status == 200
        assert shown.forms == [(f"/join/{token}?lang=en", {})]
    assert not list(scanner.client.cookies)
    assert site.admission.look(token)
    assert site.book.head() == head


def test_an_invitation_works_once() -> None:
    site = make_site(FERRY)
    token = site.admission.invite("Ana")
    ana = Visitor(site.app).come_in(token)
    late = Visitor(site.app)
    late.get(f"/join/{token}")
    assert (late.status, "This link does not work" in late.page) == (404, True)
    late.post(f"/join/{token}", {})
    assert late.status == 404
    assert ana.client.get(f"/join/{token}").headers["location"] == "/", "who is in already is led on"


@pytest.mark.parametrize("kind", ["unknown", "expired", "revoked"])
def test_bad_invitations_look_alike(kind: str) -> None:
    site = make_site(FERRY)
    token = {"unknown": "x" * 43}.get(kind) or site.admission.invite("Ana", days=0 if kind == "expired" else 1)
    if kind == "revoked":
        site.admission.revoke(site.book.raters()[0].id)
    visitor = Visitor(site.app)
    visitor.get(f"/join/{token}")
    assert visitor.status == 404
    assert visitor.page == _page_of_unknown(site_name="incident explainer")


def _page_of_unknown(site_name: str) -> str:
    visitor = Visitor(make_site(name=site_name).app)
    visitor.get("/join/nobody")
    return visitor.page


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    site = make_site(FERRY)
    client = Visitor(site.app).client
    header = client.post(f"/join/{site.admission.invite('Ana')}", headers=OWN).headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={30 * 24 * 3600}"):
        assert part in header
    assert header.startswith("expound-")


def test_two_projects_on_one_machine_do_not_share_a_cookie(tmp_path: Path) -> None:
    """Not even two of one name; and a new name signs nobody out."""
    names = []
    for place, name in (("one", "answers"), ("two", "answers"), ("two", "better answers")):
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        with open_book(folder) as book:
            admission = Admission(book)
            client = Visitor(site_above(book, admission, name=name).app).client
            names.append(
                client.post(f"/join/{admission.invite('Ana')}", headers=OWN).headers["set-cookie"].split("=")[0]
            )
    assert names[0] != names[1] == names[2]


def test_before_consent_nothing_can_be_judged() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"), start=False)
    shown = ana.get("/")
    for said in ("What is stored", "Welcome", "Ana", "train and to test"):
        assert said in ana.page
    assert ana.client.get("/rate").headers["location"] == "/"
    fields = shown.form("/start")
    assert ana.post("/start", fields) == ""
    assert ana.status == 422
    assert 'href="#agree"' in ana.page
    assert ana.client.get("/rate").headers["location"] == "/"
    assert ana.post("/rate/any", {"token": fields["token"]}) == "/"
    assert ana.post("/start", {**fields, "agree": "yes", "locale": "zh"}) == "/rate"
    assert ana.client.get("/").headers["location"] == "/rate"
    ana.get("/rate")
    assert 'lang="zh-Hans"' in ana.page


def test_an_unknown_language_falls_back_to_the_page_language() -> None:
    site = make_site(FERRY)
    wei = Visitor(site.app, language="zh").come_in(site.admission.invite("Wei"), start=False)
    fields = wei.get("/").form("/start")
    wei.post("/start", {**fields, "agree": "yes", "locale": "tlh"})
    wei.get("/rate")
    assert 'lang="zh-Hans"' in wei.page


def test_the_language_follows_the_link() -> None:
    site = make_site(FERRY)
    token = site.admission.invite("Wei")
    wei = Visitor(site.app)
    shown = wei.get(f"/join/{token}?lang=zh")
    assert "您的邀请" in wei.page
    where = wei.post(shown.forms[0][0], {})
    assert where == "/?lang=zh"
    assert wei.get(where).form("/start")["locale"] == "zh"


def test_leaving_ends_the_session() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    token = ana.get("/rate").form("/leave")["token"]
    (cookie,) = (one.value for one in ana.client.cookies.jar)
    assert cookie is not None
    assert ana.post("/leave", {"token": token}) == "/"
    assert site.admission.session(cookie) is None
    ana.get("/rate")
    assert (ana.status, "Please open your invitation link" in ana.page) == (401, True)


def test_a_revoked_rater_is_out_at_the_next_request() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    where = ana.ballot()
    site.admission.revoke(site.book.raters()[0].id)
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a"})
    assert ana.status == 401
    assert site.book.judgments() == ()


def test_strangers_get_nothing_from_any_page() -> None:
    """Every route answers a stranger with 401, but for those that must be open."""
    open_to_all = {"/join/{token}", "/healthz"}
    stranger = Visitor(make_site(FERRY).app)
    for path, methods in ROUTES.items():
        for method in methods:
            if path not in open_to_all:
                answer = stranger.client.request(method, path.format(ballot="x"), headers=OWN)
                assert (path, method, answer.status_code) == (path, method, 401)


def test_the_guidelines_are_for_raters_before_they_start() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"), start=False)
    assert ana.get("/guide").texts == [
        "A good answer gives the reason, says how it works, and names what in the text shows it.\n\n"
        "Nice words do not count. An answer that adds what the text does not say is worse."
    ]


# --- forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "0" * 64, "zz", "g" * 64, "ü" * 64])
def test_a_form_without_the_right_token_changes_nothing(token: str) -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    where, head = ana.ballot(), site.book.head()
    for path in (where, "/leave", "/start"):
        ana.get("/rate")
        ana.post(path, {**ana.fields(), "token": token, "do": "judge", "choice": "a"})
        assert (ana.status, site.book.head()) == (403, head)


def test_a_token_of_another_session_does_not_fit() -> None:
    site = make_site(FERRY)
    sessions = []
    for name in ("Ana", "Ben"):
        redeemed = site.admission.redeem(site.admission.invite(name))
        assert redeemed is not None
        sessions.append(redeemed[1])
    tokens = {form_token(sessions[0]) for _ in range(5)}
    assert len(tokens) == 5
    assert all(token_fits(sessions[0], token) and not token_fits(sessions[1], token) for token in tokens)


def test_an_upload_is_no_form_of_ours() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    where = ana.ballot()
    answer = ana.client.post(where, files={"token": b"x"}, headers=OWN)
    assert answer.status_code == 400
    assert "This was not understood" in answer.text
    assert ana.client.post(where, json={"choice": "a"}, headers=OWN).status_code == 403


# --- what is not there ------------------------------------------------------------------------------------------


def test_unknown_pages_and_methods_are_answered_with_pages() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    ana.get("/nothing")
    assert (ana.status, "There is nothing here" in ana.page) == (404, True)
    ana.get("/rate/nothing")
    assert ana.status == 404
    ana.get("/docs")
    assert ana.status == 404
    answer = ana.client.delete("/rate/x", headers=OWN)
    assert answer.status_code == 405
    assert set(re.findall(r"[A-Z]+", answer.headers["allow"])) == {"GET", "HEAD", "POST"}
    assert ana.client.head("/rate").status_code == 200


def test_the_scripts_folder_holds_what_pages_name_and_nothing_else() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    ana.ballot()
    named = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', ana.page))
    assert {path.rsplit("/", 1)[1] for path in named} == {"rate.js", "icon.svg"}
    for path in named:
        answer = ana.client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    for name in ("site.css", "..%2Fapp.py", "nothing"):
        assert ana.client.get(f"/static/x/{name}").status_code == 404


def test_a_bug_shows_a_page_without_a_traceback() -> None:
    site = make_site(FERRY)
    site.book.add(site.book.ballots()[0].__class__("lost", "comparison", "no prompt", ("x", "y"), 1, "train"))
    visitor = Visitor(site.app, raise_errors=False).come_in(site.admission.invite("Ana"))
    seen = [visitor.client.get("/rate") for _ in range(1)]
    while seen[-1].status_code == 200:
        visitor.page = seen[-1].text
        where = re.search(r'class="judge" method="post" action="([^"]+)"', visitor.page)
        assert where is not None
        visitor.post(where[1], {**visitor.fields(), "do": "judge", "choice": "a"})
        seen.append(visitor.client.get("/rate"))
    assert seen[-1].status_code == 500
    assert "This is a fault of the site" in seen[-1].text
    assert "KeyError" not in seen[-1].text


def test_a_raters_name_is_only_text() -> None:
    site = make_site(FERRY)
    site.book.add(Rater("r0", "x"))
    ana = Visitor(site.app).come_in(site.admission.invite("<img src=x onerror=alert(1)>"), start=False)
    assert "img" not in Shown(ana.client.get("/").text).tags
