"""Ballots of every kind in a real browser: by mouse, by keys alone, by touch, without scripts, in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize

from expound.records import Comparison, Ranking, Rating
from expound.rubric import Criterion
from tests.browser.conftest import WIDE, Seen, Served, watch
from tests.support.site import CRITERIA, FERRY, KILN, Several

pytestmark = pytest.mark.browser

MIDDLE = ViewportSize(width=820, height=1100)
PHONE = ViewportSize(width=390, height=844)
NARROWEST = ViewportSize(width=320, height=600)
BALLOTS = 4  # two comparisons, a rating, a ranking

CHOICE = 1
POINTS = (5, 2, 4, 1)
PLACES = ("2", "1", "2", "none", "3")
TIERS = ((1,), (0, 2), (4,))


@dataclass
class Chosen:
    """What was chosen on the pages, by kind; comparisons by the left text."""

    comparisons: dict[str, int] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    tiers: tuple[tuple[str, ...], ...] = ()


EXPECTED_POINTS = {criterion.name: value for criterion, value in zip(CRITERIA, POINTS, strict=True)}
EXPECTED_TIERS = tuple(tuple(KILN.texts[one] for one in tier) for tier in TIERS)


@pytest.fixture
def asked(served: Served) -> Served:
    """Serve a project with ballots of every kind."""
    served.site.ask_points(FERRY)
    served.site.ask_order(KILN)
    return served


def stored(served: Served) -> Chosen:
    """Return what stands in the book."""
    texts, chosen = {response.id: response.text for response in served.site.book.responses()}, Chosen()
    for judgment in (judgment for answer in served.answers() for judgment in answer.judgments):
        match judgment:
            case Comparison():
                chosen.comparisons[texts[judgment.left]] = judgment.choice
            case Rating():
                assert texts[judgment.response] == FERRY.left
                chosen.points[judgment.criterion] = judgment.value
            case Ranking():
                chosen.tiers = tuple(tuple(texts[one] for one in tier) for tier in judgment.tiers)
    return chosen


def kind_of(page: Page) -> str:
    return (page.locator("body").get_attribute("class") or "").removeprefix("ballot ")


Answering = Callable[[Page], None]


def walk(seen: Seen, answering: Mapping[str, Answering], save: Answering) -> Chosen:
    """Answer every ballot; return what should have been stored."""
    chosen, page = Chosen(), seen.page
    for _ in range(BALLOTS):
        page.wait_for_selector("form.judge")
        kind = kind_of(page)
        if kind == "comparison":
            chosen.comparisons[page.locator(".response .text").first.inner_text()] = CHOICE
        answering[kind](page)
        with page.expect_navigation():
            save(page)
    assert page.locator("form.judge").count() == 0
    return Chosen(chosen.comparisons, EXPECTED_POINTS, EXPECTED_TIERS)


def assert_clean(seen: Seen, served: Served) -> None:
    assert seen.complaints() == []
    assert all(url.startswith(served.address) for url in seen.asked), seen.asked


def group(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name)


def point_of(page: Page, criterion: Criterion, value: int, language: str) -> Locator:
    """Return a point by its name, which says its number, its label and its sentence."""
    point = criterion.points[value - 1]
    name = re.compile(rf"^{value} {re.escape(point.label[language])} ?: {re.escape(point.meaning[language])}$")
    return group(page, criterion.question[language]).get_by_role("radio", name=name)


def save_by_button(page: Page) -> None:
    page.locator("button.main").click()


# --- by mouse, by touch, with and without scripts -----------------------------------------------------------------


def point_at(act: Literal["click", "tap"], language: Literal["en", "zh"]) -> dict[str, Answering]:
    """Return how to answer every kind by pointing, by the names that the page gives to what it shows."""

    def press(where: Locator) -> None:
        where.click() if act == "click" else where.tap()

    def compare(page: Page) -> None:
        press(page.get_by_role("radio", name={"en": "B is better", "zh": "B 更好"}[language]))

    def rate(page: Page) -> None:
        for criterion, value in zip(CRITERIA, POINTS, strict=True):
            press(point_of(page, criterion, value, language))

    def rank(page: Page) -> None:
        for letter, place in zip("ABCDE", PLACES, strict=True):
            name = {"en": f"Place of {letter}", "zh": f"{letter} 的名次"}[language]
            if place != "none":
                press(group(page, name).get_by_role("radio", name=place, exact=True))

    return {"comparison": compare, "rating": rate, "ranking": rank}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_by_mouse(chromium: Browser, asked: Served, scripts: bool, language: Literal["en", "zh"]) -> None:
    locale = {"en": "en-GB", "zh": "zh-CN"}[language]
    with chromium.new_context(viewport=WIDE, locale=locale, java_script_enabled=scripts) as context:
        seen = watch(context.new_page())
        seen.come_in(asked.invite())
        expected = walk(seen, point_at("click", language), save_by_button)
        assert stored(asked) == expected
        assert {answer.device for answer in asked.answers()} == {"wide" if scripts else ""}
        timed = {judgment.seconds is not None for answer in asked.answers() for judgment in answer.judgments}
        assert timed == {scripts}
        assert_clean(seen, asked)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_by_touch_on_a_phone(chromium: Browser, asked: Served, language: Literal["en", "zh"]) -> None:
    locale = {"en": "en-GB", "zh": "zh-CN"}[language]
    with chromium.new_context(viewport=PHONE, locale=locale, has_touch=True, is_mobile=True) as context:
        seen = watch(context.new_page())
        seen.come_in(asked.invite())
        expected = walk(seen, point_at("tap", language), lambda page: page.locator("button.main").tap())
        assert stored(asked) == expected
        assert {(answer.device, answer.locale) for answer in asked.answers()} == {("narrow", language)}
        assert_clean(seen, asked)


# --- by keyboard --------------------------------------------------------------------------------------------------


def keys(*pressed: str) -> Answering:
    def answer(page: Page) -> None:
        page.wait_for_selector("[data-keys]")
        for key in pressed:
            page.keyboard.press(key)

    return answer


def save_by_enter(page: Page) -> None:
    page.keyboard.press("Enter")


def test_by_single_keys(wide: Seen, asked: Served) -> None:
    wide.come_in(asked.invite())
    straight = {"comparison": keys("3"), "rating": keys(*"5241"), "ranking": keys(*"21203")}
    expected = walk(wide, straight, save_by_enter)
    assert stored(asked) == expected
    assert_clean(wide, asked)


def test_by_single_keys_there_and_back(wide: Seen, asked: Served) -> None:
    """The same judgments in another order: questions are gone back to, left open, and answered anew."""

    def rate(page: Page) -> None:
        keys("j", "j", "3")(page)  # the second; on to the third
        assert focused(page) == "q-rate-2"
        keys("4", "k", "k", "k")(page)  # back to the first
        assert focused(page) == "q-rate-0"
        keys("5")(page)  # the next open one is the fourth
        assert focused(page) == "q-rate-3"
        keys("1", "k", "k", "2")(page)  # the second anew; nothing is open, so it stays there
        assert focused(page) == "q-rate-1"

    def rank(page: Page) -> None:
        keys("k")(page)  # from nowhere to the last
        assert focused(page) == "q-place-4"
        keys("3")(page)  # on to the first open one
        assert focused(page) == "q-place-0"
        keys("2", "1", "2", "0")(page)
        assert order(page) == "B › A = C › E"
        keys("9", "6")(page)  # no such place
        assert order(page) == "B › A = C › E"

    wide.come_in(asked.invite())
    expected = walk(wide, {"comparison": keys("1", "3"), "rating": rate, "ranking": rank}, save_by_enter)
    assert stored(asked) == expected
    assert_clean(wide, asked)


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.closest('fieldset')?.id ?? ''")
    return found


def order(page: Page) -> str:
    return page.locator("[data-order]").inner_text()


def reach(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        if page.locator(f"{selector}:focus").count():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached by Tab")


def choose(page: Page, name: str, number: int) -> None:
    """Choose the radio of that number by Tab, Space and arrows."""
    reach(page, f"[name='{name}']")
    page.keyboard.press("Space")
    for _ in range(number - 1):
        page.keyboard.press("ArrowRight")


def compare_slowly(page: Page) -> None:
    choose(page, "choice", 3)


def rate_slowly(page: Page) -> None:
    for place, value in enumerate(POINTS):
        choose(page, f"rate-{place}", value)


def rank_slowly(page: Page) -> None:
    for number, place in enumerate(PLACES):
        choose(page, f"place-{number}", len(PLACES) + 1 if place == "none" else int(place))


def save_slowly(page: Page) -> None:
    reach(page, "button.main")
    page.keyboard.press("Enter")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_by_tab_space_and_arrows_alone(chromium: Browser, asked: Served, scripts: bool) -> None:
    slowly = {"comparison": compare_slowly, "rating": rate_slowly, "ranking": rank_slowly}
    with chromium.new_context(viewport=WIDE, locale="en-GB", java_script_enabled=scripts) as context:
        seen = watch(context.new_page())
        seen.come_in(asked.invite())
        assert walk(seen, slowly, save_slowly) == stored(asked)
        assert_clean(seen, asked)


# --- what a page shows --------------------------------------------------------------------------------------------


def open_kind(seen: Seen, served: Served, kind: str) -> Page:
    """Come in and skip on to a ballot of a kind."""
    seen.come_in(served.invite())
    for _ in range(BALLOTS):
        if kind_of(seen.page) == kind:
            return seen.page
        seen.page.locator("details.skip summary").click()
        seen.page.locator("[name=reason]").first.click()
        with seen.page.expect_navigation():
            seen.page.locator("[name=do][value=skip]").click()
    raise AssertionError(f"there is no {kind}")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_sentence_of_a_point_is_shown_and_nothing_moves(chromium: Browser, asked: Served, scripts: bool) -> None:
    with chromium.new_context(viewport=WIDE, locale="en-GB", java_script_enabled=scripts) as context:
        page = open_kind(watch(context.new_page()), asked, "rating")
        first, second = (page.locator(f"#q-rate-{place}") for place in (1, 2))
        before = second.bounding_box()
        shown = first.locator(".said").filter(visible=True)
        assert shown.count() == 0
        first.get_by_role("radio").nth(3).hover()
        assert shown.all_inner_texts() == [CRITERIA[1].points[3].meaning["en"]]
        first.get_by_role("radio").nth(1).click()
        page.mouse.move(1, 1)
        assert shown.all_inner_texts() == [CRITERIA[1].points[1].meaning["en"]]
        first.get_by_role("radio").nth(4).hover()
        assert shown.all_inner_texts() == [CRITERIA[1].points[4].meaning["en"]]
        assert second.bounding_box() == before


def test_the_order_is_told_in_words(wide: Seen, asked: Served) -> None:
    page = open_kind(wide, asked, "ranking")
    assert page.get_by_role("status").filter(has_text="Nothing placed yet").count() == 1
    for letter, place in (("C", "1"), ("A", "4"), ("E", "4")):
        group(page, f"Place of {letter}").get_by_role("radio", name=place, exact=True).click()
    assert order(page) == "C › A = E"
    group(page, "Place of C").get_by_role("radio", name="not placed").click()
    assert order(page) == "A = E"


def test_enter_before_all_points_are_chosen_leads_to_the_first_gap(wide: Seen, asked: Served) -> None:
    page = open_kind(wide, asked, "rating")
    page.wait_for_selector("[data-keys]")
    before = len(asked.answers())
    for key in ("5", "Enter"):
        page.keyboard.press(key)
    assert focused(page) == "q-rate-1"
    assert len(asked.answers()) == before
    assert page.locator(":checked").count() == 1


def test_the_summary_names_what_is_missing_and_leads_there(wide: Seen, asked: Served) -> None:
    page = open_kind(wide, asked, "rating")
    page.evaluate("document.querySelector('form.judge').noValidate = true")
    group(page, CRITERIA[0].question["en"]).get_by_role("radio").nth(2).click()
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    assert page.locator(".faults:focus").count() == 1
    assert page.locator(".faults li").count() == len(CRITERIA) - 1
    page.get_by_role("link", name=f"Choose a point: {CRITERIA[2].question['en']}").click()
    assert page.url.endswith("#q-rate-2")
    assert page.locator("[name=rate-0]:checked").input_value() == "3"
    assert wide.complaints() == []


def test_too_few_places_come_back_with_what_was_placed(wide: Seen, asked: Served) -> None:
    page = open_kind(wide, asked, "ranking")
    group(page, "Place of D").get_by_role("radio", name="1", exact=True).click()
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    assert page.get_by_role("link", name="Give at least two explanations a place.").count() == 1
    assert order(page) == "D"
    assert wide.complaints() == []


@pytest.mark.parametrize("kind", ["rating", "ranking"])
def test_an_answer_is_changed_from_the_next_page(wide: Seen, asked: Served, kind: str) -> None:
    page = open_kind(wide, asked, kind)
    point_at("click", "en")[kind](page)
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Change my last answer").click()
    page.wait_for_selector("text=You are changing an answer")
    if kind == "rating":
        assert [page.locator(f"[name=rate-{place}]:checked").input_value() for place in range(4)] == [*map(str, POINTS)]
        page.locator("[name=rate-1][value='5']").click()
    else:
        assert order(page) == "B › A = C › E"
        page.locator("[name=place-3][value='1']").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    if kind == "rating":
        assert stored(asked).points == {**EXPECTED_POINTS, CRITERIA[1].name: 5}
    else:
        assert stored(asked).tiers[0] == (KILN.texts[1], KILN.texts[3])


def test_names_and_roles_are_there_for_those_who_cannot_see(wide: Seen, asked: Served) -> None:
    page = open_kind(wide, asked, "rating")
    assert page.get_by_role("heading", level=1, name="How good is this explanation?").count() == 1
    assert page.get_by_role("region", name="Explanation").count() == 1
    for criterion in CRITERIA:
        for point in criterion.points:
            assert point_of(page, criterion, point.value, "en").count() == 1


def test_the_places_have_names_for_those_who_cannot_see(wide: Seen, asked: Served) -> None:
    page = open_kind(wide, asked, "ranking")
    assert page.get_by_role("heading", level=1, name="Which explanation is best, and which comes next?").count() == 1
    for letter in "ABCDE":
        places = page.get_by_role("region", name=f"Explanation {letter}").get_by_role(
            "group", name=f"Place of {letter}"
        )
        assert places.get_by_role("radio").count() == 6
        assert places.get_by_role("radio", name="not placed", exact=True).count() == 1


@pytest.mark.parametrize("viewport", [WIDE, MIDDLE, PHONE, NARROWEST], ids=["wide", "middle", "phone", "narrowest"])
@pytest.mark.parametrize(("language", "scheme"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_nothing_scrolls_sideways_and_targets_are_large(
    chromium: Browser,
    asked: Served,
    viewport: ViewportSize,
    language: str,
    scheme: Literal["light", "dark"],
) -> None:
    asked.site.ask_order(Several("b" * 200, "c" * 500, ("a" * 400, "<i>" * 30, "x " * 200)))
    with chromium.new_context(viewport=viewport, locale=language, color_scheme=scheme) as context:
        seen = watch(context.new_page())
        page = seen.page
        seen.come_in(asked.invite())
        for _ in range(BALLOTS + 1):
            page.wait_for_selector("form.judge")
            assert page.evaluate(OVERLAPS) == [], kind_of(page)
            closed = page.locator("details:not([open]) > summary")
            while closed.count():
                closed.first.click()
            wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wider <= 0, kind_of(page)
            for target in page.locator("label.point, button.main").all():
                box = target.bounding_box()
                assert box is not None
                assert min(box["width"], box["height"]) >= 44, (kind_of(page), target.inner_text())
            assert page.evaluate(OVERLAPS) == [], kind_of(page)
            page.locator("[name=reason]").first.click()
            with page.expect_navigation():
                page.locator("[name=do][value=skip]").click()
        assert_clean(seen, asked)


OVERLAPS = """
() => {
  const boxes = [...document.querySelectorAll(":is(.scale, .places) :is(.point, legend > span, summary, .said)")]
    .map((one) => [one, one.getBoundingClientRect()])
    .filter(([one, box]) => box.width > 1 && box.height > 1 && getComputedStyle(one).visibility !== "hidden");
  const meet = (one, other) => one.left < other.right - 1 && other.left < one.right - 1
    && one.top < other.bottom - 1 && other.top < one.bottom - 1;
  return boxes.flatMap(([one, box], at) => boxes.slice(at + 1)
    .filter(([other, its]) => meet(box, its) && !one.contains(other))
    .map(([other]) => [one.textContent, other.textContent]));
}
"""
"""Pairs of elements of the questions that lie on one another, by their words."""
