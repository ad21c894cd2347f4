"""Judgments written as lines come back as they were; a line that is no judgment is an error that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expound.errors import JudgmentError
from expound.files import write_file
from expound.records import (
    Check,
    CheckVerdict,
    Comparison,
    Edit,
    Highlight,
    Judgment,
    PairVerdict,
    Ranking,
    Rating,
    Score,
    Settlement,
    Skill,
    Skip,
    Verdict,
)
from expound.tasks.judgments import judgment_lines, judgment_table, read_judgments, verdict_lines
from tests.support.strategies import judgments

FILES = Path(__file__).parent / "files"


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(told=st.lists(judgments(), max_size=4))
def test_a_round_trip_is_the_identity(tmp_path_factory: pytest.TempPathFactory, told: list[Judgment]) -> None:
    path = tmp_path_factory.mktemp("round") / "a.jsonl"
    path.write_text("".join(f"{line}\n" for line in judgment_lines(told)), encoding="utf-8")
    assert read_judgments(path) == tuple(told)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(told=st.lists(judgments().filter(lambda one: one.comment != "" and one.shown_at != ""), max_size=4))
def test_a_round_trip_through_a_table_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, told: list[Judgment]
) -> None:
    path = tmp_path_factory.mktemp("round") / "a.csv"
    write_file(path, judgment_table(told))
    assert read_judgments(path) == tuple(told)


def test_every_kind_of_line(tmp_path: Path) -> None:
    rating, score, strong, tie, forced, ranking, check, edit, highlight, skip = read_judgments(
        FILES / "judgments.jsonl"
    )
    assert rating == Rating(rater="r1", response="a", criterion="clarity", value=4)
    assert score == Score(rater="fn", response="a", value=-0.25, source="function")
    assert strong == Comparison(rater="r1", left="a", right="b", choice=-2, strength=3, seconds=12.5, ballot="b1")
    assert tie == Comparison(rater="r2", left="b", right="a", choice=0, both_bad=True, source="judge")
    assert forced == Comparison(rater="r3", left="b", right="a", choice=1, ties=False, gold=1, split="held_out")
    assert ranking == Ranking(rater="r2", tiers=(("c",), ("a", "b")), gold=[["c"], ["b"], ["a"]])
    assert check == Check(rater="r3", response="a", criterion="faithful", value="yes", comment="Seen at dusk.")
    assert edit == Edit(rater="r1", response="a", text="Fog forms where moist air cools.")
    assert highlight == Highlight(rater="r1", response="a", start=10, end=24, type="unsupported", severity=2)
    assert skip == Skip(rater="r1", ballot="b7", reason="not my field", meta={"device": "phone", "tries": [1, 2]})


def test_a_csv_file_has_the_same_keys() -> None:
    rating, forced, ranking, check = read_judgments(FILES / "judgments.csv")
    assert rating == Rating(rater="r1", response="a", criterion="clarity", value=4, comment="=so it is")
    assert forced == Comparison(rater="r1", left="a", right="b", choice=-2, strength=3, ties=False)
    assert ranking == Ranking(rater="r2", tiers=(("c",), ("a", "b")))
    assert check == Check(
        rater="r3", response="a", criterion="faithful", value="yes", comment="two\nlines", meta={"device": "phone"}
    )


COMPARED = {"kind": "comparison", "rater": "r", "left": "a", "right": "b", "choice": 1}
RATED = {"kind": "rating", "rater": "r", "response": "a", "value": 3}
RANKED = {"kind": "ranking", "rater": "r", "tiers": [["a"], ["b"]]}
MARKED = {"kind": "highlight", "rater": "r", "response": "a", "start": 1, "end": 3, "type": "t"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 2: not JSON"),
        ({"rater": "r"}, "line 2: 'kind' is missing. Give one of rating, score, comparison"),
        ({"kind": "raiting"}, "line 2: there is no kind 'raiting'. Did you mean 'rating'?"),
        ({"kind": ["rating"]}, "'kind' is ['rating']"),
        ({**RATED, "valeu": 3}, "line 2: a rating has no key 'valeu'. Did you mean 'value'?"),
        ({**RATED, "choice": 3}, "a rating has no key 'choice'"),
        ({**RATED, "rater": ""}, "'rater' is ''. Give a text that is not empty."),
        ({**RATED, "rater": 7}, "'rater' is 7"),
        ({**RATED, "value": 6}, "'value' is 6. Give a whole number from 1 to 5."),
        ({**RATED, "value": 3.0}, "'value' is 3.0"),
        ({**RATED, "value": True}, "'value' is True"),
        ({**RATED, "value": None}, "'value' is missing"),
        ({**RATED, "scale": [5, 1]}, "'scale' is [5, 1]"),
        ({**RATED, "scale": [0, 1000]}, "at most 100 apart"),
        ({**RATED, "scale": [False, 5]}, "'scale' is [False, 5]"),
        ({**RATED, "scale": "1-5"}, "'scale' is '1-5'"),
        ({**RATED, "gold": 9}, "'gold' is 9. Give the right value as a rating says it"),
        ({**RATED, "gold": True}, "'gold' is True"),
        ({**RATED, "seconds": -1}, "'seconds' is -1"),
        ({**RATED, "seconds": "9"}, "'seconds' is '9'. Give a number."),
        ('{"kind": "rating", "rater": "r", "response": "a", "value": 3, "seconds": 1e999}', "too large to be one"),
        ({**RATED, "round": 1.5}, "'round' is 1.5"),
        ({**RATED, "split": "heldout"}, "there is no split 'heldout'. Did you mean 'held_out'?"),
        ({**RATED, "source": "poeple"}, "there is no source 'poeple'. Did you mean 'people'?"),
        ({**RATED, "comment": 3}, "'comment' is 3"),
        ({**RATED, "meta": [1]}, "'meta' is [1]"),
        ({**RATED, "comment": "\ud800"}, "half of a character"),
        ({**COMPARED, "choice": 2}, "'choice' is 2. Give a whole number from -1 to 1."),
        ({**COMPARED, "strength": 0}, "'strength' is 0"),
        ({**COMPARED, "right": "a"}, "'a' is compared with itself"),
        ({**COMPARED, "choice": 0, "ties": False}, "'choice' is 0 where no tie was offered"),
        ({**COMPARED, "both_bad": True}, "'both_bad' is true and 'choice' is 1"),
        ({**COMPARED, "ties": "no"}, "'ties' is 'no'. Give true or false."),
        ({**COMPARED, "gold": 2}, "'gold' is 2"),
        ({**RANKED, "tiers": [["a"]]}, "'tiers' is [['a']]"),
        ({**RANKED, "tiers": [["a"], ["a"]]}, "each response once"),
        ({**RANKED, "tiers": [["a"], []]}, "'tiers' is"),
        ({**RANKED, "tiers": [["a"], [1]]}, "'tiers' is"),
        ({**RANKED, "tiers": ["a", "b"]}, "'tiers' is"),
        ({**RANKED, "tiers": "ab"}, "'tiers' is 'ab'"),
        ({**RANKED, "gold": ["a", "b"]}, "'gold' is ['a', 'b']"),
        ({**MARKED, "end": 1}, "'end' is 1"),
        ({**MARKED, "severity": 0}, "'severity' is 0"),
        ({**MARKED, "gold": 1}, "'gold' is 1"),
        ({"kind": "check", "rater": "r", "response": "a", "value": 1}, "'value' is 1"),
        ({"kind": "edit", "rater": "r", "response": "a", "text": ""}, "'text' is ''"),
        ({"kind": "skip", "rater": "r", "reason": 4}, "'reason' is 4"),
    ],
)
def test_what_is_no_judgment_is_an_error_with_its_line(tmp_path: Path, line: object, sentence: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(RATED)}\n{line if isinstance(line, str) else json.dumps(line)}\n", encoding="utf-8")
    with pytest.raises(JudgmentError) as caught:
        read_judgments(path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{path}: line 2: ")
    assert caught.value.remedy.endswith((".", "?"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path / "none.csv", tmp_path):
        with pytest.raises(JudgmentError, match="could not be read"):
            read_judgments(path)


def test_what_no_file_can_hold_is_not_written() -> None:
    with pytest.raises(JudgmentError, match="half of a character"):
        list(judgment_lines([Edit(rater="r", response="a", text="\ud800")]))
    with pytest.raises(JudgmentError, match="not finite"):
        list(judgment_lines([Edit(rater="r", response="a", text="b", seconds=float("nan"))]))


def test_the_lines_of_a_settlement() -> None:
    settlement = Settlement(
        round=1,
        verdicts=(Verdict("a", "overall", 0.5, 0.25, 3),),
        pairs=(PairVerdict("a", "b", "overall", 0.81),),
        skills=(Skill("r1", 0.5, 0.1, 1.5, None, -0.25, 12, "random"),),
        iterations=3,
        judgments_hash="h",
        checks=(CheckVerdict("a", "faithful", "yes", 0.75),),
    )
    assert [json.loads(line) for line in verdict_lines(settlement)] == [
        {"response": "a", "criterion": "overall", "value": 0.5, "sd": 0.25, "n": 3},
        {"pair": ["a", "b"], "criterion": "overall", "p_left": 0.81},
        {"response": "a", "criterion": "faithful", "label": "yes", "p": 0.75},
        {
            "rater": "r1",
            "skill": 0.5,
            "skill_se": 0.1,
            "severity": None,
            "side_bias": -0.25,
            "n": 12,
            "alarm": "random",
        },
    ]
