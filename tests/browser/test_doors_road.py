"""Every kind of question on the whole road: one rater with the mouse, one with the keyboard alone, one without scripts.

Each of the three answers every question, in a real browser at the site of a real `expound run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from expound import api
from expound.records import Comparison, Ranking, Rating
from tests.browser.conftest import Seen
from tests.browser.test_kinds import choose, kind_of, save_by_button, save_slowly
from tests.browser.test_people_road import (
    ADDRESS,
    LINK,
    PATIENCE_SECONDS,
    assert_clean,
    assert_finished,
    browsing,
    opened,
    running,
)
from tests.support.projects import Shape, make_project

pytestmark = pytest.mark.browser

SHAPE = Shape(panel="people", updates=2, count=2)
KINDS = ("comparison", "ranking", "rating")
RATERS = ("rater 1", "Ben", "Chen")
CHANGES = (
    ('["comparison"]', '["comparison", "rating", "ranking"]'),
    ("overlap_share = 0.0", "overlap_share = 1.0"),
    ("responses = 2\n", "responses = 1\n"),
)

Choosing = Callable[[Page, str, int], None]


def project_of(folder: Path, model: Path) -> Path:
    """Make a project that asks every kind, every question of three raters."""
    settings = make_project(folder, model, SHAPE) / "project.toml"
    text = settings.read_text(encoding="utf-8")
    for before, after in CHANGES:
        assert before in text
        text = text.replace(before, after)
    settings.write_text(text, encoding="utf-8")
    return folder


def click(page: Page, name: str, number: int) -> None:
    page.locator(f"[name='{name}']").nth(number - 1).click()


def wanted(kind: str, texts: list[str]) -> list[int]:
    """Return what is chosen of each question of a page, counted from 1: longer is better, whoever judges."""
    if kind == "comparison":
        left, right = map(len, texts)
        return [2 + (right > left) - (right < left)]
    if kind == "rating":
        return [1 + len(texts[0]) // 10 % 5]
    return [1 + sum(len(other) > len(text) for other in texts) for text in texts]


def answer(page: Page, choosing: Choosing, save: Callable[[Page], None]) -> tuple[str, str, list[int]]:
    """Answer the ballot on a page; return its id, its kind and what was chosen."""
    kind, names = kind_of(page), fields_of(page)
    texts = [one.text_content() or "" for one in page.locator(".response .text").all()]
    numbers = wanted(kind, texts) * (len(names) if kind == "rating" else 1)
    for name, number in zip(names, numbers, strict=True):
        choosing(page, name, number)
    where = page.locator("form.judge").get_attribute("action") or ""
    with page.expect_navigation():
        save(page)
    return where.removeprefix("/rate/"), kind, numbers


def fields_of(page: Page) -> list[str]:
    names = [one.get_attribute("name") or "" for one in page.locator("form.judge .point input").all()]
    return list(dict.fromkeys(names))


def answer_all(seen: Seen, choosing: Choosing, save: Callable[[Page], None]) -> dict[str, tuple[str, list[int]]]:
    given = {}
    while seen.page.locator("form.judge").count():
        ballot, *said = answer(seen.page, choosing, save)
        given[ballot] = (said[0], said[1])
    return given


WAYS: Mapping[str, tuple[Choosing, Callable[[Page], None]]] = {
    "rater 1": (click, save_by_button),
    "Ben": (choose, save_slowly),
    "Chen": (click, save_by_button),
}


def test_every_kind_is_judged_in_every_way_and_a_policy_is_tuned(
    chromium: Browser, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    folder = project_of(tmp_path / "project", tiny_llama_folder)
    with ExitStack() as stack:
        run = stack.enter_context(running(folder))
        address, first = run.until(ADDRESS), run.until(LINK)
        run.until("18 ballots to judge")
        people = {name: stack.enter_context(browsing(chromium, scripts=name != "Chen")) for name in RATERS}
        for name, seen in people.items():
            seen.come_in(first if name == "rater 1" else api.invite(folder, name))
        assert api.status(folder).startswith(f"The rating site is at {address}. Round 1: 18 of 18 ballots are missing")
        given = {name: answer_all(seen, *WAYS[name]) for name, seen in people.items()}
        for said in given.values():
            assert sorted(kind for kind, _ in said.values()) == sorted(2 * KINDS)
        people["rater 1"].page.wait_for_selector("form.judge", timeout=PATIENCE_SECONDS * 1000)
        held_out = answer_all(people["rater 1"], click, save_by_button)
        for seen in people.values():
            assert_clean(seen, address)
        said = run.end()
    assert run.process.returncode == 0, run.said
    assert {kind for kind, _ in held_out.values()} == {"comparison"}
    assert_given(
        folder, {ballot: numbers for one in (*given.values(), held_out) for ballot, (_, numbers) in one.items()}
    )
    assert_finished(folder, said, updates=2)


def assert_given(folder: Path, given: Mapping[str, list[int]]) -> None:
    """What was chosen on the pages is what stands in the book, ballot by ballot."""
    with opened(folder) as project:
        ballots = {ballot.id: ballot for ballot in project.book.ballots()}
        stored: dict[str, list[int]] = {}
        for judgment in project.book.judgments():
            assert judgment.ballot is not None
            numbers = stored.setdefault(judgment.ballot, [])
            match judgment:
                case Comparison():
                    numbers.append(2 + judgment.choice)
                case Rating():
                    numbers.append(judgment.value)
                case Ranking():
                    tiers = [set(tier) for tier in judgment.tiers]
                    better = {one: sum(map(len, tiers[:place])) for place, tier in enumerate(tiers) for one in tier}
                    numbers += [1 + better[one] for one in ballots[judgment.ballot].responses]
    assert stored == given
