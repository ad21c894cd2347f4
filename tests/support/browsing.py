"""A rater with a browser, without the browser: follows links and sends the forms that are on a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser

from fastapi import FastAPI
from fastapi.testclient import TestClient

ADDRESS = "http://127.0.0.1:8800"
OWN = {"Origin": ADDRESS}


class Shown(HTMLParser):
    """What a page holds: the texts of elements by class, and the fields of its forms by action."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.checked: dict[str, str] = {}
        self.tags: list[str] = []
        self._text: list[str] | None = None
        self._area: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.tags.append(tag)
        if tag == "form":
            self.forms.append((given["action"], {}))
        if tag == "input" and given.get("type") == "hidden":
            self.forms[-1][1][given["name"]] = given["value"]
        if tag == "input" and "checked" in given:
            self.checked[given["name"]] = given["value"]
        if tag == "textarea":
            self._area = given["name"]
            self._text = []
        if "text" in given.get("class", "").split():
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._text is None:
            return
        text = "".join(self._text)
        if self._area is not None:
            self.checked[self._area] = text.removeprefix("\n")
        else:
            self.texts.append(text)
        self._text = self._area = None

    def form(self, action: str) -> dict[str, str]:
        """Return the hidden fields of the first form with an action."""
        return next(fields for where, fields in self.forms if where == action)


class Visitor:
    """Somebody who was invited, with one browser."""

    def __init__(self, app: FastAPI, *, language: str = "en", raise_errors: bool = True) -> None:
        self.client = TestClient(
            app,
            base_url=ADDRESS,
            follow_redirects=False,
            headers={"Accept-Language": language},
            raise_server_exceptions=raise_errors,
        )
        self.page = ""
        self.status = 0

    def get(self, path: str) -> Shown:
        answer = self.client.get(path)
        self.page, self.status = answer.text, answer.status_code
        return Shown(self.page)

    def post(self, path: str, fields: dict[str, str]) -> str:
        """Send a form; return where it leads, or an empty string when a page comes back."""
        answer = self.client.post(path, data=fields, headers=OWN)
        self.page, self.status = answer.text, answer.status_code
        return str(answer.headers.get("location", ""))

    def come_in(self, token: str, *, start: bool = True) -> Visitor:
        """Use an invitation and agree."""
        assert self.post(f"/join/{token}", {}).startswith("/")
        if start:
            fields = self.get("/").form("/start")
            assert self.post("/start", {**fields, "agree": "yes"}) == "/rate"
        return self

    def moved_to(self, app: FastAPI) -> Visitor:
        """Return the same browser, with its cookies, at another process of the site."""
        moved = Visitor(app)
        moved.client.cookies = self.client.cookies
        return moved

    def ballot(self) -> str:
        """Open the page for judging and return where its form goes."""
        self.get("/rate")
        found = re.search(r'<form class="judge" method="post" action="([^"]+)"', self.page)
        assert found is not None, self.page
        return unescape(found[1])

    def fields(self) -> dict[str, str]:
        """Return the hidden fields of the judging form on the page at hand."""
        return next(fields for where, fields in Shown(self.page).forms if where.startswith("/rate/"))

    def send(self, fields: Mapping[str, str], *, do: str = "judge") -> str:
        """Fill in the ballot that is shown next, send it, and return where that leads."""
        where = self.ballot()
        return self.post(where, {**self.fields(), "do": do, **fields})

    def judge(self, choice: str = "a", comment: str = "") -> str:
        """Judge the ballot that is shown next and return where that leads."""
        return self.send({"choice": choice, "comment": comment})
