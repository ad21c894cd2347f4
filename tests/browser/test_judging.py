"""Judging in a real browser: by mouse, by keyboard alone, on a phone, without scripts, in both languages."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from expound.records import Comparison
from tests.browser.conftest import WIDE, Seen, Served, watch
from tests.support.site import BAKERY, Case

pytestmark = pytest.mark.browser

PHONE = ViewportSize(width=390, height=844)
NARROWEST = ViewportSize(width=320, height=600)
HOSTILE = Case(
    "<img src=x onerror=\"console.log('executed')\">",
    "<script>console.log('executed')</script><style>*{display:none}</style>",
    "</div><svg onload=\"console.log('executed')\"><a href=javascript:alert(1)>x</a>",
    "a" * 400 + " <iframe src=//evil.example>",
)


def said(served: Served) -> list[tuple[str, str, int]]:
    """Return what was judged as (text on the left, text on the right, choice), oldest first."""
    texts = {response.id: response.text for response in served.site.book.responses()}
    judgments = [judgment for answer in served.answers() for judgment in answer.judgments]
    return [(texts[one.left], texts[one.right], one.choice) for one in judgments if isinstance(one, Comparison)]


def shown(seen: Seen) -> tuple[str, str]:
    """Return the two texts as they stand on the page, the left or upper one first."""
    boxes = []
    for section in seen.page.locator(".response").all():
        box = section.bounding_box()
        assert box is not None
        boxes.append((round(box["y"]), round(box["x"]), section.locator(".text").inner_text()))
    first, second = sorted(boxes)
    return first[2], second[2]


def assert_clean(seen: Seen, served: Served) -> None:
    assert seen.complaints() == []
    assert all(url.startswith(served.address) for url in seen.asked), seen.asked


def test_by_mouse(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    expected = []
    for label, choice in (("B is better", 1), ("About the same", 0)):
        expected.append((*shown(wide), choice))
        wide.page.get_by_role("radio", name=label).click()
        with wide.page.expect_navigation():
            wide.page.get_by_role("button", name="Save").click()
    wide.page.wait_for_selector("text=Nothing to judge right now")
    assert said(served) == expected
    first = served.answers()[0]
    assert first.device == "wide"
    assert first.judgments[0].seconds is not None
    assert first.judgments[0].shown_at is not None
    assert_clean(wide, served)


def test_by_single_keys(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    expected = []
    for key, choice in (("1", -1), ("3", 1)):
        wide.page.wait_for_selector("[data-keys]")
        expected.append((*shown(wide), choice))
        wide.page.keyboard.press(key)
        with wide.page.expect_navigation():
            wide.page.keyboard.press("Enter")
    wide.page.wait_for_selector("text=Nothing to judge right now")
    assert said(served) == expected
    assert_clean(wide, served)


def test_enter_without_a_choice_saves_nothing_and_keys_are_off_while_typing(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    wide.page.wait_for_selector("[data-keys]")
    wide.page.keyboard.press("Enter")
    wide.page.get_by_text("Add a comment").click()
    wide.page.locator("#comment").fill("")
    wide.page.locator("#comment").press_sequentially("1 2 3")
    wide.page.locator("#comment").press("Enter")
    assert wide.page.locator("[name=choice]:checked").count() == 0
    assert said(served) == []
    wide.page.get_by_role("radio", name="A is better").click()
    with wide.page.expect_navigation():
        wide.page.get_by_role("button", name="Save").click()
    assert served.answers()[0].judgments[0].comment == "1 2 3\n"


@pytest.mark.parametrize("scripts", [True, False])
def test_by_tab_arrows_and_space_alone(chromium: Browser, served: Served, scripts: bool) -> None:
    """From the invitation to the saved judgment without a mouse."""
    with chromium.new_context(viewport=WIDE, locale="en-GB", java_script_enabled=scripts) as context:
        seen = watch(context.new_page())
        page = seen.page

        def reach(selector: str) -> None:
            for _ in range(30):
                page.keyboard.press("Tab")
                if page.locator(f"{selector}:focus").count():
                    return
            raise AssertionError(f"{selector} cannot be reached by Tab")

        page.goto(served.invite())
        reach("main button")
        page.keyboard.press("Enter")
        page.wait_for_selector("#agree")
        reach("#agree")
        page.keyboard.press("Space")
        reach("main button.main")
        page.keyboard.press("Enter")
        page.wait_for_selector("form.judge")
        expected = (*shown(seen), 0)
        reach("[name=choice]")
        page.keyboard.press("ArrowRight" if page.locator("[name=choice]:checked").count() else "Space")
        page.keyboard.press("ArrowRight")
        reach("button.main")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert said(served) == [expected]
        assert_clean(seen, served)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_without_scripts(chromium: Browser, served: Served, viewport: ViewportSize) -> None:
    with chromium.new_context(viewport=viewport, locale="en-GB", java_script_enabled=False) as context:
        seen = watch(context.new_page())
        seen.come_in(served.invite())
        assert not seen.page.locator("kbd").first.is_visible(), "keys that do not work are not shown"
        expected = (*shown(seen), -1)
        seen.page.get_by_role("radio", name="A is better").click()
        seen.page.get_by_role("button", name="Save").click()
        seen.page.wait_for_selector("text=Saved.")
        assert said(served) == [expected]
        assert (served.answers()[0].device, served.answers()[0].judgments[0].seconds) == ("", None)
        seen.page.get_by_text("I cannot judge this one").click()
        seen.page.get_by_role("radio", name="The subject").click()
        seen.page.get_by_role("button", name="Skip").click()
        seen.page.wait_for_selector("text=Nothing to judge right now")
        assert len(served.answers()) == 2
        assert_clean(seen, served)


def test_on_a_phone_by_touch(chromium: Browser, served: Served) -> None:
    with chromium.new_context(viewport=PHONE, locale="zh-CN", has_touch=True, is_mobile=True) as context:
        seen = watch(context.new_page())
        seen.come_in(served.invite())
        seen.page.wait_for_selector("[data-keys]")
        expected = (*shown(seen), 1)
        seen.page.get_by_role("radio", name="B 更好").tap()
        with seen.page.expect_navigation():
            seen.page.get_by_role("button", name="保存").tap()
        assert said(served) == [expected]
        assert (served.answers()[0].device, served.answers()[0].locale) == ("narrow", "zh")
        assert_clean(seen, served)


@pytest.mark.parametrize(
    ("viewport", "language", "scheme"),
    [(WIDE, "en-GB", "dark"), (PHONE, "en-GB", "light"), (PHONE, "zh-CN", "dark"), (NARROWEST, "en-GB", "light")],
)
def test_no_page_scrolls_sideways_and_targets_are_large(
    chromium: Browser,
    served: Served,
    viewport: ViewportSize,
    language: str,
    scheme: Literal["light", "dark"],
) -> None:
    served.site.ask(HOSTILE)
    served.site.ask(BAKERY)
    with chromium.new_context(viewport=viewport, locale=language, color_scheme=scheme) as context:
        seen = watch(context.new_page())
        page = seen.page
        page.goto(served.invite("A" * 80))
        assert_fits(seen)
        page.click("main button")
        page.wait_for_selector("#agree")
        assert_fits(seen)
        page.check("#agree")
        page.click("main button.main")
        for _ in range(4):
            page.wait_for_selector("form.judge")
            page.locator("details.skip summary").click()
            assert_fits(seen)
            for point in page.locator("label.point, button.main").all():
                box = point.bounding_box()
                assert box is not None
                assert box["height"] >= 44
            page.locator("[name=choice]").first.click()
            with page.expect_navigation():
                page.locator("button.main").click()
        assert_fits(seen)
        for path in ("/guide", "/nothing"):
            page.goto(served.address + path)
            assert_fits(seen)
        assert_clean(seen, served)


def assert_fits(seen: Seen) -> None:
    wider = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, seen.page.url


def test_hostile_texts_stay_texts(wide: Seen, served: Served) -> None:
    served.site.ask(HOSTILE)
    wide.come_in(served.invite("<script>console.log('executed')</script>"))
    found = False
    for _ in range(3):
        wide.page.wait_for_selector("form.judge")
        found = found or shown(wide) == (HOSTILE.left, HOSTILE.right)
        wide.page.get_by_role("radio", name="A is better").click()
        with wide.page.expect_navigation():
            wide.page.get_by_role("button", name="Save").click()
    assert found
    assert_clean(wide, served)


def test_the_summary_of_faults_has_the_focus_and_leads_to_the_choice(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    wide.page.evaluate("document.querySelector('form.judge').noValidate = true")
    with wide.page.expect_navigation():
        wide.page.get_by_role("button", name="Save").click()
    assert wide.page.locator(".faults:focus").count() == 1
    wide.page.get_by_role("link", name="Choose one of the answers").click()
    assert wide.page.url.endswith("#q-choice")
    assert wide.complaints() == []


def test_an_answer_is_changed_from_the_next_page(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    left, right = shown(wide)
    wide.page.get_by_role("radio", name="A is better").click()
    wide.page.get_by_role("button", name="Save").click()
    wide.page.get_by_role("link", name="Change my last answer").click()
    wide.page.wait_for_selector("text=You are changing an answer")
    assert shown(wide) == (left, right)
    assert wide.page.locator("[name=choice]:checked").input_value() == "a"
    wide.page.get_by_role("radio", name="B is better").click()
    with wide.page.expect_navigation():
        wide.page.get_by_role("button", name="Save").click()
    assert [(one.revision, one.judgments[0].revision) for one in served.answers()][-1] == (1, 1)
    assert said(served)[-1] == (left, right, 1)


def test_two_tabs_that_disagree_are_told(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    other = wide.page.context.new_page()
    other.goto(f"{served.address}/rate")
    wide.page.get_by_role("radio", name="A is better").click()
    with wide.page.expect_navigation():
        wide.page.get_by_role("button", name="Save").click()
    other.get_by_role("radio", name="B is better").click()
    other.get_by_role("button", name="Save").click()
    other.wait_for_selector("text=You have answered this one already")
    with other.expect_navigation():
        other.get_by_role("button", name="Change it to this one").click()
    assert [choice for _, _, choice in said(served)][-1] == 1


def test_names_and_roles_are_there_for_those_who_cannot_see(wide: Seen, served: Served) -> None:
    wide.come_in(served.invite())
    page = wide.page
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("group", name="Which answer explains it better?").get_by_role("radio").count() == 3
    assert page.get_by_role("progressbar", name="0 judged, about 2 left").count() == 1
    assert page.get_by_role("region", name="Explanation A").count() == 1
    assert page.get_by_role("region", name="Text").get_attribute("tabindex") == "0"
    assert page.get_by_role("navigation", name="Menu").count() == 1
