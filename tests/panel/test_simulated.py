"""The simulated panel: judgments that no order changes, a habit for each rater, all marked as simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import correlation, fmean

import pytest

from expound.errors import PromptError
from expound.panel.simulated import HABITS, SimulatedPanel, gold_of
from expound.ports import Advance
from expound.records import (
    Ballot,
    BallotKind,
    Comparison,
    Judgment,
    Prompt,
    Ranking,
    Rating,
    Response,
    Round,
    Text,
    content_id,
)
from expound.rubric import Criterion, Point
from tests.support.books import MemoryBook

SOURCE = (
    "When Ines unlocked the bakery, a window behind the sacks stood wide open. Cold air had poured over the dough all "
    "night, and chilled yeast works slowly. The thermometer showed twelve degrees at four. Everyone wore new aprons."
)
GOOD = "The loaves rose late because a window stood open behind the sacks. Cold air chilled the yeast all night."
BAD = "The loaves rose late because everyone wore new aprons."
PROMPT = Prompt(
    id="p",
    parts=(Text("question", "Why did the loaves rise so late?"), Text("source", SOURCE)),
    name="bakery",
    split="train",
    meta={
        "facts": {
            "reason": ["window", "open"],
            "mechanism": ["yeast", "chill|cold"],
            "evidence": ["thermometer", "twelve|12"],
        },
        "side": [["apron"]],
        "wrong": [["window", "shut|closed"]],
        "ideal": GOOD,
    },
)
ROUND = Round(1, 0, "{}", "{}")
COPIES = 200


class Quiet:
    """Shows nothing (fulfils ports.Progress)."""

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        def advance(steps: int = 1, note: str = "") -> None:
            return None

        yield advance

    def say(self, line: str) -> None:
        return None


def response(index: int, text: str) -> Response:
    return Response(f"r{index}", "p", text, "reference", 1, index, finished=True)


RESPONSES = (response(0, GOOD), response(1, BAD))


def ballots(kind: BallotKind, shown: Sequence[str], copies: int = COPIES) -> list[Ballot]:
    """Make copies of one question, so that every rater answers many."""
    return [
        Ballot(content_id(kind, list(shown), copy), kind, "p", tuple(shown), 1, "train", copy) for copy in range(copies)
    ]


def judged(asked: Sequence[Ballot], seed: int = 0, given: Sequence[Response] = RESPONSES) -> dict[str, Judgment]:
    """Let the panel answer and return the judgments by ballot."""
    book = MemoryBook()
    book.add([PROMPT, *given, *asked])
    SimulatedPanel(book, seed).collect(ROUND, "train", Quiet())
    return {judgment.ballot or "": judgment for judgment in book.judgments("train")}


def by_rater(found: dict[str, Judgment], name: str) -> list[Judgment]:
    return [one for one in found.values() if one.rater == f"simulated-{name}"]


def share_left(found: dict[str, Judgment], name: str) -> float:
    choices = [one.choice for one in by_rater(found, name) if isinstance(one, Comparison)]
    return sum(choice < 0 for choice in choices) / len(choices)


def mean_rating(found: dict[str, Judgment], name: str) -> float:
    values = [one.value for one in by_rater(found, name) if isinstance(one, Rating)]
    return sum(values) / len(values)


def test_every_judgment_is_marked_as_simulated_and_carries_its_split() -> None:
    found = judged([*ballots("comparison", ["r0", "r1"], 20), *ballots("rating", ["r0"], 20)])
    assert len(found) == 40
    assert {one.source for one in found.values()} == {"simulated"}
    assert {one.split for one in found.values()} == {"train"}
    assert {one.rater for one in found.values()} == {habit.rater.id for habit in HABITS}
    assert all(habit.rater.source == "simulated" for habit in HABITS)


def test_judgments_depend_on_seed_rater_and_ballot_alone() -> None:
    asked = ballots("comparison", ["r0", "r1"], 50)
    one, other = judged(asked), judged(asked[::-1])
    assert one == other
    assert one != judged(asked, seed=1)
    assert {key: one[key] for key in [asked[3].id]} == judged([asked[3]])


def test_what_is_answered_is_not_asked_again() -> None:
    book = MemoryBook()
    book.add([PROMPT, *RESPONSES, *ballots("comparison", ["r0", "r1"], 5)])
    panel = SimulatedPanel(book, 0)
    panel.collect(ROUND, "train", Quiet())
    head = book.head()
    panel.collect(ROUND, "train", Quiet())
    assert book.head() == head


def test_honest_raters_prefer_the_better_and_the_adversary_the_worse() -> None:
    found = judged(ballots("comparison", ["r0", "r1"]))
    assert share_left(found, "careful") > 0.95
    assert share_left(found, "adversarial") < 0.05
    assert share_left(found, "noisy") > 0.8


def test_equal_responses_show_ties_noise_and_the_side_bias() -> None:
    twins = (RESPONSES[0], replace(RESPONSES[0], id="r1", sample=1))
    found = judged(ballots("comparison", ["r0", "r1"], 600), given=twins)
    careful = [one.choice for one in by_rater(found, "careful") if isinstance(one, Comparison)]
    # A difference of two noises of .07 lies within .03 with probability .24.
    assert sum(choice == 0 for choice in careful) / len(careful) == pytest.approx(0.24, abs=0.1)
    assert share_left(found, "side-biased") > 0.75
    assert 0.3 < share_left(found, "noisy") < 0.65


def test_the_harsh_rater_rates_lower_and_the_adversary_turns_the_scale() -> None:
    found = judged([*ballots("rating", ["r0"], 300)])
    worse = judged([*ballots("rating", ["r1"], 300)])
    assert mean_rating(found, "harsh") < mean_rating(found, "careful") - 0.4
    assert mean_rating(found, "careful") > mean_rating(worse, "careful") + 1
    assert mean_rating(found, "adversarial") < mean_rating(worse, "adversarial") - 1
    assert all(1 <= one.value <= 5 for one in found.values() if isinstance(one, Rating))


CRITERIA = ("reason", "shown", "clarity")
CAREFUL = "simulated-careful"
PARTLY = "The loaves rose late because a window stood open behind the sacks."
FOUR = tuple(response(place, text) for place, text in enumerate((GOOD, BAD, PARTLY, "Late loaves, new aprons.")))


def all_said(
    asked: Sequence[Ballot], given: Sequence[Response] = FOUR, criteria: Sequence[Criterion] = ()
) -> tuple[Judgment, ...]:
    """Let the panel answer and return every judgment, of which a ballot may have several."""
    book = MemoryBook()
    book.add([PROMPT, *given, *asked])
    SimulatedPanel(book, 0, criteria).collect(ROUND, "train", Quiet())
    return book.judgments("train")


def test_a_rating_gives_a_point_of_every_criterion_of_its_ballot() -> None:
    asked = [replace(one, criteria=CRITERIA) for shown in ("r0", "r1") for one in ballots("rating", [shown], 100)]
    said = [one for one in all_said(asked) if isinstance(one, Rating)]
    assert len(said) == 3 * len(asked)
    assert {ballot.id for ballot in asked} == {one.ballot for one in said}
    assert all(1 <= one.value <= 5 and one.source == "simulated" for one in said)
    by_ballot: dict[str, list[str]] = {}
    for one in said:
        by_ballot.setdefault(one.ballot or "", []).append(one.criterion)
    assert all(tuple(criteria) == CRITERIA for criteria in by_ballot.values())
    for criterion in CRITERIA:
        mean = {
            (name, response_id): fmean(
                one.value
                for one in said
                if (one.rater, one.criterion, one.response) == (f"simulated-{name}", criterion, response_id)
            )
            for name in ("careful", "adversarial", "harsh")
            for response_id in ("r0", "r1")
        }
        assert mean["careful", "r0"] > mean["careful", "r1"] + 1
        assert mean["adversarial", "r0"] < mean["adversarial", "r1"] - 1
        assert mean["harsh", "r0"] < mean["careful", "r0"]


def scaled(name: str, low: int, high: int) -> Criterion:
    points = [Point(value=value, label={"en": str(value)}, meaning={"en": "So."}) for value in range(low, high + 1)]
    return Criterion(name=name, question={"en": "How good?"}, points=tuple(points))


def test_a_rating_is_on_the_scale_of_its_criterion() -> None:
    """The share of the scale, not the point, tells the utility: an unknown criterion goes from 1 to 5."""
    scales = {"reason": (0, 3), "shown": (1, 7), "clarity": (1, 5)}
    asked = [replace(one, criteria=CRITERIA) for shown in ("r0", "r1") for one in ballots("rating", [shown])]
    said = [
        one
        for one in all_said(asked, criteria=[scaled(name, *scales[name]) for name in CRITERIA[:2]])
        if isinstance(one, Rating)
    ]
    for criterion, (low, high) in scales.items():
        mine = [one for one in said if one.criterion == criterion]
        assert {one.scale for one in mine} == {(low, high)}
        assert {one.value for one in mine} >= {low, high}
        assert {one.value for one in mine} <= set(range(low, high + 1))
        good, bad = (
            fmean((one.value - low) / (high - low) for one in mine if (one.rater, one.response) == (CAREFUL, shown))
            for shown in ("r0", "r1")
        )
        assert good > bad + 0.3


def test_criteria_of_one_ballot_go_together_and_still_differ() -> None:
    asked = [replace(one, criteria=CRITERIA) for one in ballots("rating", ["r2"], 500)]
    said = [one for one in all_said(asked) if isinstance(one, Rating) and one.rater == "simulated-noisy"]
    values = [
        tuple(one.value for one in said if one.ballot == ballot) for ballot in dict.fromkeys(o.ballot for o in said)
    ]
    first, second = zip(*((one, other) for one, other, _ in values), strict=True)
    assert correlation(first, second) > 0.5  # noise of 1 shared and of ½ each: .8, less what rounding and ends take
    assert any(len(set(three)) > 1 for three in values)


def ordered_rightly(said: Sequence[Judgment], name: str) -> float:
    """Return the share of pairs with clearly different utilities that a rater's rankings order like the utilities."""
    worth = {one.id: gold_of(PROMPT, one.text, finished=True) for one in FOUR}
    clear = [(one, two) for one in worth for two in worth if worth[one] > worth[two] + 0.15]
    assert len(clear) >= 4
    found = []
    for judgment in said:
        if isinstance(judgment, Ranking) and judgment.rater == f"simulated-{name}":
            place = {response_id: tier for tier, ids in enumerate(judgment.tiers) for response_id in ids}
            found += [place[better] < place[worse] for better, worse in clear]
    return fmean(found)


def test_a_careful_rater_ranks_by_utility_and_an_adversary_turns_it_round() -> None:
    said = all_said(ballots("ranking", ["r0", "r1", "r2", "r3"]))
    assert len(said) == COPIES
    assert all(sorted(sum(one.tiers, ())) == ["r0", "r1", "r2", "r3"] for one in said if isinstance(one, Ranking))
    assert ordered_rightly(said, "careful") > 0.9
    assert ordered_rightly(said, "adversarial") < 0.1
    assert ordered_rightly(said, "noisy") < ordered_rightly(said, "careful")


def test_a_ranking_puts_into_one_tier_what_is_about_the_same() -> None:
    twins = [replace(FOUR[0], id=f"r{place}", sample=place) for place in range(3)]
    said = [one for one in all_said(ballots("ranking", ["r0", "r1", "r2"], 300), twins) if isinstance(one, Ranking)]
    tied = [one for one in said if len(one.tiers) < 3]
    assert 0.2 < len(tied) / len(said) < 0.9


def test_only_the_noisy_rater_likes_length() -> None:
    long = response(1, BAD + " They wore them in the shop and at home and on the way between the two." * 4)
    pair = (response(0, BAD), long)
    found = judged(ballots("comparison", ["r1", "r0"], 400), given=pair)
    assert share_left(found, "noisy") > share_left(found, "careful") + 0.2


def test_gold_of_reads_the_prompt_and_refuses_one_without_facts() -> None:
    assert (
        gold_of(PROMPT, GOOD, finished=True)
        > gold_of(PROMPT, GOOD, finished=False)
        > gold_of(PROMPT, BAD, finished=True)
    )
    with pytest.raises(PromptError, match="bakery"):
        gold_of(replace(PROMPT, meta={}), GOOD, finished=True)
