"""What stands before the pages: hosts, origins, bodies, headers; and texts that would like to be more than text."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from expound.web.guards import MAX_BODY_BYTES
from tests.support.browsing import ADDRESS, OWN, Shown, Visitor
from tests.support.site import FERRY, Case, make_site

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</div></section><h1>hello</h1>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover='alert(1)",
    "</textarea><svg onload=alert(1)>",
    "</title><base href=//evil.example>",
    "</style><style>*{display:none}</style>",
    "<!-- <a href='javascript:alert(1)'>x</a>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "&lt;b&gt; &amp; &#x3c;script&#x3e; &nbsp;",
    "{{ 7 * 7 }} {% raise %} ${7*7} #{7*7}",
    "javascript:alert(1)",
    "]]> <![CDATA[ <x> ]]>",
    "\u202eright to left\u202c and \u2066isolated\u2069",
    "\u200bzero\u200dwidth\ufeff",
    "  leading, trailing and\n\n\nempty lines  ",
    "\n first line empty",
    "tab\there",
    "العربية then English then 中文",
    "👩‍🚒 e\u0301 ﷽ \U0001f3f4\U000e0067\U000e0062\U000e007f",
    "a" * 3000,
)
OUR_TAGS = frozenset(
    "html head meta title link style script body a header p div progress span nav form input button main h1 h2 section "
    "fieldset legend label kbd details summary textarea ol ul li strong".split()
)


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_texts_are_shown_exactly_and_as_texts(number: int) -> None:
    payload = PAYLOADS[number]
    site = make_site(Case(payload, f"{payload} source", f"{payload} left", f"{payload} right"), name=payload[:80])
    ana = Visitor(site.app).come_in(site.admission.invite(payload[:60]), start=False)
    shown = ana.get("/")
    assert set(shown.tags) <= OUR_TAGS
    ana.post("/start", {**shown.form("/start"), "agree": "yes"})
    shown = ana.get("/rate")
    assert shown.texts == [payload, f"{payload} source", f"{payload} left", f"{payload} right"]
    assert set(shown.tags) <= OUR_TAGS
    ana.judge("", payload)
    shown = Shown(ana.page)
    assert shown.checked["comment"] == payload
    ana.judge("a", payload)
    assert site.book.judgments()[0].comment == payload


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "0.0.0.0", "localhost.evil:8800"])
def test_another_host_name_is_refused(host: str) -> None:
    client = Visitor(make_site(FERRY).app).client
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 421
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8800", "localhost:1", "LOCALHOST", "[::1]:8800", "[::1]"])
def test_names_of_this_machine_are_known(host: str) -> None:
    assert Visitor(make_site(FERRY).app).client.get("/healthz", headers={"Host": host}).text == "ok\n"


def test_the_bound_host_is_known_and_everywhere_means_addresses() -> None:
    named = Visitor(make_site(host="lab.example").app).client
    assert named.get("/healthz", headers={"Host": "lab.example:8800"}).status_code == 200
    everywhere = Visitor(make_site(host="0.0.0.0").app).client
    for host, status in (("192.168.1.7:8800", 200), ("[fe80::1]:8800", 200), ("evil.example", 421)):
        assert everywhere.get("/healthz", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "https://127.0.0.1:8800"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": ADDRESS, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": ADDRESS, "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": ADDRESS, "Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": ADDRESS}, 303),
    ],
)
def test_forms_come_from_our_own_pages_only(headers: dict[str, str], status: int) -> None:
    site = make_site(FERRY)
    token = site.admission.invite("Ana")
    answer = Visitor(site.app).client.post(f"/join/{token}", headers=headers)
    assert answer.status_code == status
    assert site.admission.look(token) == (status == 403)


def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", "choice": "a", "comment": "x" * MAX_BODY_BYTES})
    assert (ana.status, "That is too much text" in ana.page) == (413, True)
    pieces = (b"comment=" + b"x" * 1000 for _ in range(1 + MAX_BODY_BYTES // 1000))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ana.client.post(where, content=pieces, headers={**OWN, **kind}).status_code == 413
    assert site.book.judgments() == ()


def test_the_longest_chinese_comment_fits() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Wei"))
    assert ana.judge("a", "好" * 10_000) == "/rate"


def test_every_page_carries_its_headers_and_the_hash_of_its_style() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    for path in ("/rate", "/guide", "/nothing", "/healthz"):
        answer = ana.client.get(path)
        policy = answer.headers["content-security-policy"]
        for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
            assert part in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        for style in re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy


def test_no_page_asks_anything_of_another_host() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    for path in ("/rate", "/guide", "/nothing"):
        ana.get(path)
        assert not re.search(r'(?:src|href|action)="(?:[a-z]+:)?//', ana.page)
        assert "url(" not in ana.page
        assert " style=" not in ana.page
        assert not re.search(r"<[^>]+ on[a-z]+=", ana.page)


def test_a_page_is_compressed_and_small() -> None:
    site = make_site(FERRY)
    ana = Visitor(site.app).come_in(site.admission.invite("Ana"))
    answer = ana.client.get("/rate")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 12_000
    assert len(answer.content) < 30_000


def test_the_stylesheet_knows_no_left_and_right() -> None:
    page = Visitor(make_site().app)
    page.get("/nothing")
    (style,) = re.findall(r"<style>(.*?)</style>", page.page, re.DOTALL)
    assert not re.search(r"(margin|padding|border|inset)?-?\b(left|right)\b\s*:", style)
    assert not re.search(r"(?<![a-z-])(margin|padding)-(top|bottom)\s*:", style)
