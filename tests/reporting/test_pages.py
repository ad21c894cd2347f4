from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError

from expound.ports import Book
from expound.records import RewardCard
from expound.reporting.pages import write_report
from expound.reporting.report import draw_pairs, gather
from expound.reporting.status import describe
from expound.store.book import open_book
from tests.reporting.story import MARKUP, RATERS, Outcome, Story

KEYS = {
    "round", "decision", "evaluation", "gold", "card", "skills", "alarms", "metrics", "seconds", "settings", "versions",
    "pairs",
}  # fmt: skip


class Reader(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.numbers: list[tuple[float, str]] = []
        self.words: list[str] = []
        self._value: float | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag == "data":
            self._value = float(dict(attributes)["value"] or "nan")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._value is not None:
            self.numbers.append((self._value, data))
            self._value = None

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def numbers_in(value: object) -> set[float]:
    match value:
        case bool():
            return set()
        case int() | float():
            return {float(value)}
        case dict():
            return {number for item in value.values() for number in numbers_in(item)}
        case list():
            return {number for item in value for number in numbers_in(item)} | {float(len(value))}
        case _:
            return set()


def walked(story: Story, outcome: Outcome = "better") -> Story:
    story.walk(outcome)
    return story


@pytest.fixture
def simulated() -> Story:
    story = walked(Story())
    story.round = 2
    return walked(story)


def test_it_writes_page_and_numbers_of_the_round_and_the_newest_page_at_the_top(
    simulated: Story, tmp_path: Path
) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path)
    assert page == tmp_path / "rounds" / "002" / "report.html"
    assert (tmp_path / "report.html").read_bytes() == page.read_bytes()
    simulated.round = 1
    older = write_report(simulated.book, simulated.given(), tmp_path)
    assert older == tmp_path / "rounds" / "001" / "report.html"
    assert (tmp_path / "report.html").read_bytes() == page.read_bytes()
    assert not list(tmp_path.rglob(".staging-*"))


def test_the_page_asks_nobody_for_anything(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path).read_text(encoding="utf-8")
    found = Reader(page)
    assert found.addresses == ["data:,"]
    assert not found.tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page


def test_every_text_is_escaped(tmp_path: Path) -> None:
    # Few enough prompts that the hostile one is among the drawn.
    story = walked(Story(hostile=True, held_out=3))
    page = write_report(story.book, story.given(), tmp_path).read_text(encoding="utf-8")
    found = Reader(page)
    assert not found.tags & {"script", "img", "b"}
    assert found.addresses == ["data:,"]
    # Title, heading line, five raters, one of them accused, question, source, the tuned response.
    assert found.text.count(MARKUP) == 11


def test_charts_are_well_formed_and_named(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path).read_text(encoding="utf-8")
    charts = [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(charts) == 9
    assert all(chart.findtext("title") and chart.findtext("desc") for chart in charts)


def test_numbers_of_the_page_are_those_of_the_json(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path)
    kept = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    known, shown = numbers_in(kept), Reader(page.read_text(encoding="utf-8")).numbers
    assert len(shown) > 100
    assert {value for value, _ in shown} <= known
    for value, text in shown:
        assert told(text) == pytest.approx(value, abs=precision(text)), text


def told(text: str) -> float:
    """Return the number that a text shows: 74%, −0.20, 2 min 14 s."""
    plain = text.replace("−", "-")
    if "min" in plain:
        minutes, seconds = re.findall(r"\d+", plain)
        return 60 * int(minutes) + int(seconds)
    return float(plain.rstrip("% s")) / (100 if plain.endswith("%") else 1)


def precision(text: str) -> float:
    decimals: int = len(text.partition(".")[2].rstrip("% s")) + (2 if text.endswith("%") else 0)
    return 0.5001 * math.pow(10, -decimals)


def test_json_has_the_keys_that_are_promised(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path)
    kept = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert kept.keys() >= KEYS
    assert kept["round"] == 2
    assert kept["decision"]["outcome"] == "better"
    assert kept["evaluation"]["interval"] == [0.61, 0.87]
    assert kept["settings"]["ppo"]["updates"] == 8
    assert [point["prompts"] for point in kept["card"]["curve"]["points"]] == [9, 18, 27, 36]
    assert kept["versions"]["torch"] == "2.13.0"
    assert len(kept["metrics"]) == 8
    assert len(kept["pairs"]) == 5


def test_a_simulated_panel_is_named_in_the_headline_and_first_among_the_limits(
    simulated: Story, tmp_path: Path
) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path).read_text(encoding="utf-8")
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading is not None
    assert heading[1] == "Simulated panel: hidden utility +0.195 [+0.120, +0.280] over the reference"
    assert "<title>answers with reasons: round 2 (simulated panel)</title>" in page
    limits = page.partition("What this does not show")[2]
    assert limits.index("No person judged anything") < limits.index("24 held-out prompts")
    assert "asked about in 2 rounds" in limits


def test_the_page_answers_whether_the_judgments_are_enough(simulated: Story, tmp_path: Path) -> None:
    text = Reader(write_report(simulated.book, simulated.given(), tmp_path).read_text(encoding="utf-8")).text
    asked = text.partition("Are these enough judgments?")[2]
    assert asked.lstrip().startswith(
        "More judgments would likely make a better reward: doubling the judged prompts to 36"
    )
    assert "8 of 8 updates, of 32 responses each." in text


def test_skills_are_drawn_with_their_whiskers_and_unknown_ones_left_out(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path).read_text(encoding="utf-8")
    charts = [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    skills = next(chart for chart in charts if chart.findtext("title") == "Skill of each rater")
    said = [text.text for text in skills.iter("text")]
    assert [name for name in said if name in RATERS] == ["noisy", "careful", "harsh", "adversarial"]
    places = [float(circle.attrib["cx"]) for circle in skills.iter("circle")]
    assert places == sorted(places, reverse=True)


def test_a_card_and_a_tuning_of_an_older_version_are_shown_without_what_they_lack(tmp_path: Path) -> None:
    story = walked(Story())
    story.book.rewards = lambda: (RewardCard("c", 1, 168, 4, 0.75, 0.70, 0.80, 0.56, 412, 0.0, 1.0),)  # type: ignore[method-assign]
    given = story.given()
    lines = [{name: value for name, value in line.items() if name != "updates"} for line in given.metrics]
    page = write_report(story.book, replace(given, metrics=lines), tmp_path).read_text(encoding="utf-8")
    assert "orders" in page
    assert "Are these enough" not in page
    assert "responses each" not in page


@pytest.mark.parametrize(
    ("outcome", "heading"),
    [
        ("better", "Tuned preferred in 74% [61%, 87%] of held-out comparisons"),
        ("not_better", "Tuned preferred in 50% [46%, 54%] of held-out comparisons"),
        ("too_little", "Too few held-out prompts to say; tuned preferred in 60% of comparisons"),
    ],
)
def test_people_without_gold(outcome: Outcome, heading: str, tmp_path: Path) -> None:
    story = walked(Story("people"), outcome)
    page = write_report(story.book, story.given(gold=False), tmp_path).read_text(encoding="utf-8")
    assert f"<h1>{heading}</h1>" in page
    assert f'class="decision {outcome}">{outcome}: people preferred' in page
    assert "imulated" not in page.replace("simulated alone", "")
    assert "Hidden utility" not in page
    assert ("too few for an interval" in page) == (outcome == "too_little")


def test_a_round_that_is_still_open(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    given = replace(story.given(gold=False, metrics=False), skills=(), seconds={})
    page = write_report(story.book, given, tmp_path).read_text(encoding="utf-8")
    assert "<h1>Simulated panel: round 1 is not decided yet</h1>" in page
    assert "Nobody has compared" in page
    for heading in ("Tuning", "Reward", "Raters", "Before and after", "Seconds", "Held-out comparisons"):
        assert f">{heading}" not in page
    kept = json.loads((tmp_path / "rounds" / "001" / "report.json").read_text(encoding="utf-8"))
    assert kept["decision"] is None
    assert kept["pairs"] == []


def test_a_metric_that_was_no_number_is_a_dash_and_a_gap(simulated: Story, tmp_path: Path) -> None:
    given = simulated.given()
    lines = [{**line, "kl": None, "explained_variance": None} for line in given.metrics]
    given = replace(given, metrics=lines)  # type: ignore[arg-type]
    page = write_report(simulated.book, given, tmp_path).read_text(encoding="utf-8")
    assert "KL to the reference by update" not in page
    assert "Reward by update" in page
    assert page.count('<td class="number">–</td>') >= 16


@pytest.mark.parametrize(
    "key", ["update", "reward", "z", "kl", "k3", "beta", "length", "finished", "explained_variance"]
)
def test_a_missing_metric_is_an_error(key: str, simulated: Story, tmp_path: Path) -> None:
    given = simulated.given()
    lines = [{name: value for name, value in line.items() if name != key} for line in given.metrics]
    with pytest.raises((KeyError, UndefinedError)):
        write_report(simulated.book, replace(given, metrics=lines), tmp_path)
    assert not list(tmp_path.rglob("report.*"))


def test_raters_with_few_judgments_are_not_judged(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(), tmp_path).read_text(encoding="utf-8")
    row = re.search(r">side-biased</th>.*?</tr>", page, re.DOTALL)
    assert row is not None
    assert "too few to tell" in row[0]
    assert "+1.90" not in row[0]
    adversarial = re.search(r">adversarial</th>.*?</tr>", page, re.DOTALL)
    assert adversarial is not None
    assert "−0.78" in adversarial[0]
    assert re.search(r">adversarial</strong>\s+inverted", page)


def test_an_alarm_that_came_twice_is_told_once_as_it_was_last(simulated: Story, tmp_path: Path) -> None:
    page = write_report(simulated.book, simulated.given(alarms=True), tmp_path).read_text(encoding="utf-8")
    assert "19.2 nats" in page
    assert "An older reading." not in page


def test_pairs_are_drawn_by_seed_alone_and_turned_so_that_before_is_the_reference() -> None:
    story = walked(Story())
    pairs = draw_pairs(story.book, 1, 7)
    assert pairs == draw_pairs(story.book, 1, 7)
    assert len({pair.name for pair in pairs}) == 5
    assert [pair.name for pair in pairs] != [pair.name for pair in draw_pairs(story.book, 1, 8)]
    unanswered = Story()
    unanswered.begin()
    unanswered.tune()
    unanswered.compare()
    assert [pair.name for pair in draw_pairs(unanswered.book, 1, 7)] == [pair.name for pair in pairs]
    assert all(pair.before.text.startswith("The reason") and pair.after.text.startswith("It is") for pair in pairs)


def test_votes_are_counted_for_the_side_they_were_given_to() -> None:
    story = walked(Story())
    policies = {found.id: found.policy for found in story.book.responses("held_out")}
    pairs = {pair.name: pair for pair in draw_pairs(story.book, 1, 7, count=100)}
    names = {prompt.id: prompt.name for prompt in story.book.prompts("held_out")}
    assert len(pairs) == 24
    for ballot in story.book.ballots("held_out", round_=1):
        (judgment,) = [found for found in story.book.judgments("held_out") if found.ballot == ballot.id]
        choice = judgment.choice  # type: ignore[attr-defined]
        chosen = None if choice == 0 else policies[ballot.responses[choice > 0]]
        pair = pairs[names[ballot.prompt]]
        counts = {None: pair.ties, "reference": pair.votes_before, "tuned-1": pair.votes_after}
        assert counts == {None: 0, "reference": 0, "tuned-1": 0} | {chosen: 1}


def test_the_book_on_disk_and_the_one_in_memory_give_one_report(simulated: Story, tmp_path: Path) -> None:
    given = simulated.given()
    with open_book(tmp_path) as book:
        copy_records(simulated, book)
        assert gather(book, given) == gather(simulated.book, given)
        assert describe(book, simulated.settings, tmp_path) == describe(simulated.book, simulated.settings, tmp_path)


def copy_records(story: Story, book: Book) -> None:
    held = story.book
    book.add([*held.rounds(), *held.prompts(), *held.raters(), *held.policies(), *held.responses(), *held.ballots()])
    for rater in held.raters():
        book.answer(held.answers(rater.id, 10_000)[::-1])
    book.add([*held.settlements(), *held.rewards(), *held.evaluations(), *held.decisions()])
