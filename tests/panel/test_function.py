"""The user's own functions: called once for what is missing, stored one by one, and told what they did wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from expound.errors import InputError, SettingsError
from expound.panel.function import (
    OwnFunction,
    RankingFunction,
    RankingPanel,
    ResponseText,
    ScoreFunction,
    ScorePanel,
    asked_once,
    check_goes_on,
    require,
    text_of,
)
from expound.panel.people import Work
from expound.ports import RewardValue
from expound.records import Ballot, BallotKind, Comparison, PolicyRecord, Prompt, Ranking, Response, Round, Score, Text
from expound.settings import changed_keys, dump, parse, undump, with_function
from tests.panel.test_simulated import Quiet
from tests.support.books import MemoryBook

PROMPT = Prompt("p", (Text("question", "Why?"), Text("source", "A log.")), name="pump", split="train")
OTHER = Prompt("q", (Text("question", "Why not?"),), name="lamp", split="held_out")
TEXTS = ("a long one it is", "short", "also one", "b longer one it is")
ROUND = Round(1, 0, "{}", "{}", ("p", "q"))
HEAD = '[project]\nname = "a"\ntask = "answer"\nmodel = "m"\n'


def made(prompt: Prompt, round_: int = 1, policy: str = "reference") -> list[Response]:
    return [
        Response(f"{prompt.id}{round_}{policy[0]}{place}", prompt.id, text, policy, round_, place, finished=True)
        for place, text in enumerate(TEXTS)
    ]


def ballot(kind: BallotKind, prompt: Prompt, *shown: int, round_: int = 1) -> Ballot:
    responses = tuple(f"{prompt.id}{round_}r{place}" for place in shown)
    name = Ballot.make_id(kind, prompt.id, responses, round_, 0)
    return Ballot(name, kind, prompt.id, responses, round_, prompt.split or "train")


def book_of(*ballots: Ballot) -> MemoryBook:
    book = MemoryBook()
    book.add([PROMPT, OTHER, PolicyRecord("reference", 0, ""), *made(PROMPT), *made(OTHER), *ballots])
    return book


class Shortest:
    """Ranks by length and remembers what it was asked; fails when it is asked once too often."""

    def __init__(self, fails_at: int = 10_000) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.fails_at = fails_at

    def __call__(self, text: str, responses: Sequence[str]) -> list[int]:
        self.asked.append((text, tuple(responses)))
        if len(self.asked) == self.fails_at:
            raise RuntimeError("out of credit")
        lengths = [len(response.split()) for response in responses]
        return [1 + sum(other < length for other in lengths) for length in lengths]


def words_of(text: str, response: str) -> float:
    return len(response.split())


# --- a function that ranks ----------------------------------------------------------------------------------------


def test_a_ranking_function_answers_rankings_and_comparisons_with_ties() -> None:
    rank = Shortest()
    book = book_of(
        ballot("ranking", PROMPT, 3, 1, 0, 2), ballot("comparison", PROMPT, 0, 1), ballot("comparison", PROMPT, 0, 3)
    )
    RankingPanel(book, RankingFunction(rank)).collect(ROUND, "train", Quiet())
    first, second, third = book.judgments("train")
    assert isinstance(first, Ranking)
    assert first.tiers == (("p1r1",), ("p1r2",), ("p1r3", "p1r0"))
    assert [(one.left, one.right, one.choice) for one in (second, third) if isinstance(one, Comparison)] == [
        ("p1r0", "p1r1", 1),
        ("p1r0", "p1r3", 0),
    ]
    assert {one.source for one in book.judgments()} == {"function"}
    assert [(rater.name, rater.source) for rater in book.raters()] == [("Shortest", "function")]
    assert rank.asked[0] == ("Why?\n\nA log.", tuple(TEXTS[place] for place in (3, 1, 0, 2)))


def test_what_a_function_has_said_is_kept_when_it_fails_and_not_asked_again() -> None:
    ballots = [
        ballot("comparison", PROMPT, 0, 1),
        ballot("comparison", PROMPT, 1, 2),
        ballot("comparison", PROMPT, 2, 3),
    ]
    book = book_of(*ballots)
    with pytest.raises(
        InputError, match=r"'Shortest' failed on prompt 'pump' \(RuntimeError: out of credit\)"
    ) as raised:
        RankingPanel(book, RankingFunction(Shortest(fails_at=3))).collect(ROUND, "train", Quiet())
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert raised.value.exit_code == 2
    assert len(book.judgments()) == 2
    again = Shortest()
    panel = RankingPanel(book, RankingFunction(again))
    panel.collect(ROUND, "train", Quiet())
    assert len(again.asked) == 1
    assert len(book.judgments()) == 3
    head = book.head()
    panel.collect(ROUND, "train", Quiet())
    assert (len(again.asked), book.head()) == (1, head)


@pytest.mark.parametrize("said", [[2, 1, 3], (2, 1, 3), np.array([2, 1, 3]), [2.0, 1.0, 3.0], iter([2, 1, 3])])
def test_places_may_come_as_any_numbers(said: object) -> None:
    places = RankingFunction(lambda text, responses: said).places(PROMPT, made(PROMPT)[:3])
    assert places == (2, 1, 3)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([1, 2], "holds 2 places for 3 responses"),
        (None, "holds 0 places for 3 responses"),
        ("12", "holds 2 places"),
        ("123", "are no places from 1, the best, to 3"),
        ([0, 1, 2], "are no places from 1"),
        ([2, 3, 3], "are no places from 1"),
        ([1, 2, 4], "are no places from 1"),
        ([1, 1.5, 3], "are no places from 1"),
        ([0.3, 0.1, 0.9], "are no places from 1"),
        ([1, math.nan, 2], "are no places from 1"),
        ([1, None, 2], "are no places from 1"),
        ([[1], [2], [3]], "are no places from 1"),
    ],
)
def test_what_is_no_ranking_is_refused(said: object, why: str) -> None:
    def rank(text: str, responses: Sequence[str]) -> object:
        return said

    with pytest.raises(InputError, match=r"your function 'rank' gave .* for prompt 'pump'") as raised:
        RankingFunction(rank).places(PROMPT, made(PROMPT)[:3])
    assert why in raised.value.what
    assert "the same call again" in raised.value.remedy


# --- a function that scores ---------------------------------------------------------------------------------------


def scored(book: MemoryBook) -> dict[str, float]:
    return {one.response: one.value for one in book.judgments() if isinstance(one, Score)}


def test_a_score_is_stored_for_each_response_of_the_sample_once() -> None:
    calls: list[str] = []

    def count(text: str, response: str) -> float:
        calls.append(response)
        return words_of(text, response)

    book = book_of()
    panel = ScorePanel(book, ScoreFunction(count))
    panel.collect(ROUND, "train", Quiet())
    assert scored(book) == {"p1r0": 5.0, "p1r1": 1.0, "p1r2": 2.0, "p1r3": 5.0}
    assert panel.values(made(PROMPT)[:2], 1) == (RewardValue(5.0), RewardValue(1.0))
    panel.collect(ROUND, "train", Quiet())
    assert sorted(calls) == sorted(TEXTS)
    judgments = book.judgments("train")
    assert {(one.source, one.rater, one.prompt, one.round) for one in judgments} == {
        ("function", "function-count", "p", 1)
    }
    assert panel.name == "count"


def test_a_failing_score_loses_nothing_and_only_the_rest_is_asked() -> None:
    book, calls = book_of(), []

    def picky(text: str, response: str) -> float:
        calls.append(response)
        if response == TEXTS[2]:
            raise KeyError("word")
        return words_of(text, response)

    with pytest.raises(InputError, match=r"'picky' failed on prompt 'pump' \(KeyError: 'word'\)") as raised:
        ScorePanel(book, ScoreFunction(picky)).collect(ROUND, "train", Quiet())
    assert isinstance(raised.value.__cause__, KeyError)
    assert set(scored(book)) == {"p1r0", "p1r1"}
    ScorePanel(book, ScoreFunction(words_of)).collect(ROUND, "train", Quiet())
    assert len(scored(book)) == 4
    assert calls == list(TEXTS[:3])


def test_responses_that_nobody_knew_are_stored_with_their_scores() -> None:
    book = book_of()
    episodes = made(PROMPT, policy="tuning")
    panel = ScorePanel(book, ScoreFunction(words_of))
    assert [one.mean for one in panel.values([*episodes, episodes[0]], 1)] == [5.0, 1.0, 2.0, 5.0, 5.0]
    assert {one.id for one in book.responses("train", policy="tuning")} == {one.id for one in episodes}
    assert len(scored(book)) == 4


def test_the_next_round_asks_again_since_the_function_may_have_changed() -> None:
    book = book_of()
    ScorePanel(book, ScoreFunction(words_of)).collect(ROUND, "train", Quiet())
    book.add([PolicyRecord("tuned", 1, ""), *made(PROMPT, 2, "tuned"), *made(PROMPT, 1, "passing")])
    later = ScorePanel(book, ScoreFunction(lambda text, response: 7))
    later.collect(replace(ROUND, number=2), "train", Quiet())
    told = {one.response for one in book.judgments(round_=2) if isinstance(one, Score) and one.value == 7.0}
    assert told == {one.id for one in [*made(PROMPT), *made(PROMPT, 2, "tuned")]}


def test_held_out_pairs_are_compared_by_their_scores() -> None:
    book = book_of(
        ballot("comparison", OTHER, 0, 1), ballot("comparison", OTHER, 1, 2), ballot("comparison", OTHER, 3, 0)
    )
    panel = ScorePanel(book, ScoreFunction(words_of))
    panel.collect(ROUND, "held_out", Quiet())
    choices = [one.choice for one in book.judgments("held_out") if isinstance(one, Comparison)]
    assert choices == [-1, 1, 0]
    assert scored(book) == {"q1r0": 5.0, "q1r1": 1.0, "q1r2": 2.0, "q1r3": 5.0}
    head = book.head()
    panel.collect(ROUND, "held_out", Quiet())
    assert book.head() == head


@pytest.mark.parametrize(("said", "value"), [(1, 1.0), (True, 1.0), (np.float32(0.5), 0.5), (np.int64(-3), -3.0)])
def test_any_finite_number_is_a_score(said: float, value: float) -> None:
    assert ScoreFunction(lambda text, response: said).score(PROMPT, made(PROMPT)[0]) == RewardValue(value)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("0.5", "is no number"),
        (None, "is no number"),
        ([0.5], "is no number"),
        (1j, "is no number"),
        (math.nan, "is no finite number"),
        (-math.inf, "is no finite number"),
        (10**400, "is beyond all bounds"),
        ("x" * 500, "..."),
    ],
)
def test_what_is_no_score_is_refused(said: object, why: str) -> None:
    def score(text: str, response: str) -> object:
        return said

    with pytest.raises(InputError, match=r"your function 'score' gave .* for prompt 'pump'") as raised:
        ScoreFunction(score).score(PROMPT, made(PROMPT)[0])
    assert why in raised.value.what
    assert len(raised.value.what) < 300


def test_a_richer_value_is_kept_whole_and_its_mean_compared() -> None:
    """What a killed tuning reads again is what the function said, in plain numbers."""

    def rich(text: str, response: ResponseText) -> RewardValue:
        words = np.arange(len(response.tokens), dtype=np.float32)
        return RewardValue(words_of(text, response), 0.5, words, [[0, 1, np.int64(2)]], {"words": len(words)})

    episodes = [replace(one, tokens=(7, 8, 9)) for one in made(OTHER)]
    book = book_of(ballot("comparison", OTHER, 0, 1))
    expected = RewardValue(5.0, 0.5, (0.0, 1.0, 2.0), ((0, 1, 2.0),), {"words": 3.0})
    assert ScoreFunction(rich).score(PROMPT, episodes[0]) == expected
    assert expected.total == 5.0 + 3.0 + 2.0
    panel = ScorePanel(book, ScoreFunction(rich))
    told = panel.values([replace(one, id=f"new{one.sample}") for one in episodes], 1)[0]
    assert (told.mean, told.sd, list(told.tokens or ()), told.parts) == (5.0, 0.5, [0.0, 1.0, 2.0], {"words": 3.0})
    assert [tuple(span) for span in told.spans or ()] == [(0, 1, 2.0)]
    assert [one.value for one in book.judgments() if isinstance(one, Score)] == [5.0, 1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (RewardValue(math.nan), "is no finite number"),
        (RewardValue(1.0, sd=-0.5), "has a spread of -0.5, below 0"),
        (RewardValue(1.0, tokens=[1.0, 2.0]), "holds 2 token rewards for a response of 3 tokens"),
        (RewardValue(1.0, tokens=[1.0, "2", 3.0]), "is no number"),  # type: ignore[list-item]
        (RewardValue(1.0, tokens=3.0), "holds 3.0 where a list belongs"),  # type: ignore[arg-type]
        (RewardValue(1.0, spans=[(0, 99, 1.0)]), "has a span that ends at 99 in a text of 16 characters"),
        (RewardValue(1.0, spans=[(3, 3, 1.0)]), "has a span from 3 to 3, which holds no character"),
        (RewardValue(1.0, spans=[(-1, 3, 1.0)]), "has a span from -1 to 3, which holds no character"),
        (RewardValue(1.0, spans=[(0.5, 3, 1.0)]), "has a span from 0.5 to 3"),  # type: ignore[list-item]
        (RewardValue(1.0, spans=[(0, 3)]), "has a span of 2 parts, not (start, end, value)"),  # type: ignore[list-item]
        (RewardValue(1.0, parts={"a": math.inf}), "is no finite number"),
    ],
)
def test_a_richer_value_that_does_not_fit_is_refused(said: RewardValue, why: str) -> None:
    with pytest.raises(InputError, match=r"gave RewardValue.* for prompt 'pump', which") as raised:
        ScoreFunction(lambda text, response: said).score(PROMPT, replace(made(PROMPT)[0], tokens=(7, 8, 9)))
    assert why in raised.value.what


def test_people_are_never_asked_for_a_score() -> None:
    book = book_of(ballot("comparison", PROMPT, 0, 1))
    ScorePanel(book, ScoreFunction(words_of)).collect(ROUND, "train", Quiet())
    assert [one.kind for one in Work.read(book).ballots.values()] == ["comparison"]


# --- names, rounds and settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "rater", "name"),
    [
        (words_of, "function-words_of", "words_of"),
        (lambda text, response: 0.0, "function-lambda", "<lambda>"),
        (partial(words_of), "function-partial", "partial"),
        (math.dist, "function-dist", "dist"),
    ],
)
def test_a_function_is_called_by_its_name(call: Callable[[str, str], float], rater: str, name: str) -> None:
    found = ScoreFunction(call).rater
    assert (found.id, found.name, found.source) == (rater, name, "function")


def test_a_prompt_without_a_source_is_its_question_alone() -> None:
    assert (text_of(PROMPT), text_of(OTHER)) == ("Why?\n\nA log.", "Why not?")


def test_a_function_is_not_asked_to_compare_what_it_ranks_together() -> None:
    ranking = ballot("ranking", PROMPT, 0, 1, 2)
    inside, across, other = (ballot("comparison", *shown) for shown in ((PROMPT, 2, 0), (PROMPT, 2, 3), (OTHER, 0, 1)))
    assert asked_once([inside, ranking, across, other]) == (ranking, across, other)


@pytest.mark.parametrize(
    ("given", "other"), [(ScoreFunction(words_of), RankingFunction(Shortest())), (RankingFunction(Shortest()), None)]
)
def test_a_round_goes_on_as_it_began(given: OwnFunction, other: OwnFunction | None) -> None:
    argument = "feedback" if given.kind == "score function" else "ranking"
    check_goes_on(1, given.kind, given)
    check_goes_on(1, None, None)
    with pytest.raises(InputError, match=f"round 3 was begun with a {given.kind}") as raised:
        check_goes_on(3, given.kind, other)
    assert f"project.run({argument}=...)" in raised.value.remedy
    with pytest.raises(InputError, match="round 3 was begun without a function"):
        check_goes_on(3, None, given)
    assert require(type(given), given, Path("here")) is given
    with pytest.raises(InputError, match=f"here was begun with a {given.kind}"):
        require(type(given), other, Path("here"))


def test_settings_of_a_function_round_survive_the_book_and_no_file_holds_them() -> None:
    settings = parse(f'{HEAD}[panel]\nkinds = ["simulated"]\n[asking]\noverlap = 3\n')
    assert with_function(settings, None) is settings
    ranking, score = with_function(settings, "ranking function"), with_function(settings, "score function")
    assert undump(dump(ranking)) == ranking
    assert (ranking.panel.function, ranking.panel.is_scored) == ("ranking function", False)
    assert (score.panel.function, score.panel.is_scored) == ("score function", True)
    assert settings.panel.function is None
    assert ranking.asking.ballots == ("ranking", "comparison")
    assert (ranking.asking.overlap, ranking.asking.overlap_share) == (1, 0.0)
    assert changed_keys(ranking, with_function(ranking, "ranking function")) == ()
    for kind in ("score function", "ranking function"):
        with pytest.raises(SettingsError, match=r"cannot stand in a file.*project\.run"):
            parse(f'{HEAD}[panel]\nkinds = ["{kind}"]\n')
