"""A real Chromium in front of a real server on loopback, above a real database."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Playwright, ViewportSize, sync_playwright

from expound.records import Answer
from expound.store.admission import Admission
from expound.store.book import open_book
from tests.support.site import FERRY, JAM, TestSite, site_above

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE_SECONDS = 20.0
WIDE = ViewportSize(width=1280, height=900)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Give the Chromium that is installed; EXPOUND_CHROMIUM names another."""
    found = os.environ.get("EXPOUND_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium here")
    browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
    yield browser
    browser.close()


@dataclass
class Served:
    """A site that answers at an address."""

    site: TestSite
    address: str

    def invite(self, name: str = "Ana") -> str:
        """Return the link of a new invitation."""
        return f"{self.address}/join/{self.site.admission.invite(name)}"

    def answers(self) -> list[Answer]:
        """Return the answers of everybody, oldest first."""
        book = self.site.book
        return [answer for rater in book.raters() for answer in reversed(book.answers(rater.id))]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve a project with three questions."""
    with open_book(tmp_path) as book:
        site = site_above(book, Admission(book), FERRY, JAM)
        server = uvicorn.Server(uvicorn.Config(site.app, log_level="warning", access_log=False))
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        yield Served(site, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.should_exit = True
        thread.join()


@dataclass
class Seen:
    """A page with everything that the browser had to say about it and every address that it asked."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def come_in(self, link: str) -> None:
        """Follow an invitation to the first ballot."""
        self.page.goto(link)
        self.page.click("main button")
        self.page.check("#agree")
        self.page.click("main button.main")
        self.page.wait_for_selector("form.judge")

    def complaints(self) -> list[str]:
        """Return what the console said, but for the network's own words about refused forms."""
        return [line for line in self.said if "the server responded with a status of 4" not in line]


@pytest.fixture
def wide(chromium: Browser) -> Iterator[Seen]:
    """Give a page of a desk's width."""
    with chromium.new_context(viewport=WIDE, locale="en-GB") as context:
        yield watch(context.new_page())


def watch(page: Page) -> Seen:
    """Note everything that the browser says and asks from here on."""
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    seen = Seen(page)
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    return seen
