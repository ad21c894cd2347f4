"""Preference pairs are read to the last line, in every shape, and what they can hold comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from expound.errors import JudgmentError
from expound.records import (
    SIDES,
    Comparison,
    Judgment,
    PairVerdict,
    Rating,
    Settlement,
    Skip,
    Verdict,
)
from expound.tasks.formats import export, imported
from expound.tasks.imported import Feedback, Imported, Reading
from expound.tasks.rows import read_rows
from tests.support.feedback import FROST, GRASS, LAZY, NAME, PROMPTS, RESPONSES, SINKS, SUGAR, as_feedback

FILES = Path(__file__).parent / "files"


def read(path: Path) -> Imported:
    return imported(tuple(read_rows(path)), "pairs", Reading(NAME))


def shown(found: Imported) -> list[tuple[str, str, str]]:
    """Return prompt, better and worse text of each comparison."""
    prompts, texts = {one.id: one.text for one in found.prompts}, {one.id: one.text for one in found.responses}
    told = []
    for one in found.judgments:
        assert isinstance(one, Comparison)
        better, worse = (one.left, one.right) if one.choice < 0 else (one.right, one.left)
        told.append((prompts[one.prompt or ""], texts[better], texts[worse]))
    return told


def test_pairs_with_their_prompt() -> None:
    found = read(FILES / "pairs.jsonl")
    kneading = ("Why do cats knead blankets?", "Kneading begins in kittens, who press for milk.", "They like it.")
    bread = ("Why is bread scored?", "So that it opens at the cut.", "For looks.")
    assert shown(found) == [kneading, kneading, bread]
    assert dict(found.lost.counts) == {"equal_texts": 1}
    first, second, third = found.judgments
    assert (first.rater, first.source, first.meta) == ("ana", "people", {SIDES: "drawn", "topic": "animals"})
    assert (second.rater, second.source, second.seconds) == ("7", "judge", 9.0)
    assert (third.rater, third.meta["source"], third.meta["p"]) == (f"file:{NAME}", "kitchen", 0.9)
    assert all(one.policy == f"file:{NAME}" and one.round == 0 for one in found.responses)
    assert (len(found.prompts), len(found.responses)) == (2, 4)
    assert [(one.strength, one.ties) for one in found.judgments if isinstance(one, Comparison)] == [(1, False)] * 3


def test_pairs_with_the_prompt_in_both() -> None:
    assert shown(read(FILES / "pairs_implicit.jsonl")) == [
        (
            "Question: why does tea steep faster when hot? Answer:",
            "heat moves the molecules more.",
            "hot is just better.",
        ),
        ("Why do leaves turn red?", "The green fades and other pigments show.", "Autumn paints them."),
        ("Why is ice slippery?", "A thin wet layer lies on it.", "It is cold."),
        ("System: Be brief.\n\nUser: Why yawn?", "Nobody is sure.", "To breathe more."),
        ("为什么天空是蓝色的？", "因为散射。", "不知道。"),
    ]


@pytest.mark.parametrize(
    ("chosen", "rejected", "texts"),
    [
        ("Say why. It rains.", "Say why. It rained.", ("Say why. It", "rains.", "rained.")),
        ("a b c", "a b", ("a", "b c", "b")),
        ("a b", "a b c", ("a", "b", "b c")),
    ],
)
def test_the_common_beginning_ends_with_a_word(
    tmp_path: Path, chosen: str, rejected: str, texts: tuple[str, str, str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"chosen": chosen, "rejected": rejected}), encoding="utf-8")
    (told,) = shown(read(path))
    assert tuple(text.strip() for text in told) == texts


U, A = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
B = {"role": "assistant", "content": "Thus."}


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"prompt": "Why?", "chosen": [U, A], "rejected": [U, B]}, ("Why?", "So.", "Thus.")),
        ({"prompt": [U], "chosen": [U, A], "rejected": [U, B]}, ("Why?", "So.", "Thus.")),
        ({"prompt": "Why?", "chosen": [A], "rejected": [B]}, ("Why?", "So.", "Thus.")),
        ({"prompt": [U], "chosen": "So.", "rejected": "Thus."}, ("Why?", "So.", "Thus.")),
        (
            {"prompt": [U, A], "chosen": [U, A], "rejected": [U, B]},
            ("User: Why?\n\nAssistant: So.\n\nUser: Why?", "So.", "Thus."),
        ),
    ],
)
def test_messages_and_texts_in_one_row(tmp_path: Path, row: dict[str, object], texts: tuple[str, str, str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert shown(read(path)) == [texts]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"chosen": "One.", "rejected": "Two."}, "begin with different words. Give what was asked in 'prompt'."),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "the prompt is empty"),
        ({"prompt": "p", "chosen": " ", "rejected": "b"}, "a response is empty"),
        ({"prompt": "p", "chosen": 3, "rejected": "b"}, "'chosen' is 3. Give a text, or a list of messages"),
        ({"prompt": "p", "chosen": [U], "rejected": ["b"]}, "rejected 1: 'b' is no object"),
        ({"prompt": "p", "chosen": [U], "rejected": [{"role": "user"}]}, "rejected 1: 'content' is missing"),
        ({"prompt": "p", "chosen": [U, A], "rejected": [U]}, "one conversation ends where the two part"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "rater": [1]}, "'rater' is [1]"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "seconds": "x"}, "'seconds' is 'x'"),
    ],
)
def test_a_row_that_is_no_pair(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(JudgmentError) as caught:
        read(path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{path}: line 1")


@pytest.mark.parametrize("same", ["One two.", [U, A], "\n\nHuman: Why?\n\nAssistant: So."])
def test_the_same_answer_twice_is_counted(tmp_path: Path, same: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"chosen": same, "rejected": same}), encoding="utf-8")
    found = read(path)
    assert (found.prompts, found.judgments, dict(found.lost.counts)) == ((), (), {"equal_texts": 1})


def test_an_id_means_one_text(tmp_path: Path) -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_id": "x"}
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(row)}\n{json.dumps({**row, 'chosen': 'c'})}\n", encoding="utf-8")
    with pytest.raises(JudgmentError, match="line 2: 'x' is not what it is in a line above"):
        read(path)


def test_which_side_is_left_does_not_tell_what_was_chosen(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "chosen": f"a{n}", "rejected": f"b{n}"} for n in range(400)]
    rows += [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    told = [one for one in read(path).judgments if isinstance(one, Comparison)]
    assert [(one.left, one.right, one.choice) for one in told[:400]] == [
        (one.left, one.right, -one.choice) for one in told[400:]
    ]
    assert 160 < sum(one.choice < 0 for one in told[:400]) < 240


# --- out ----------------------------------------------------------------------------------------------------------


def drawn(**changes: object) -> Comparison:
    one = Comparison(rater="ana", left=GRASS.id, right=SUGAR.id, choice=-1, ties=False, meta={SIDES: "drawn"})
    return replace(one, prompt=FROST.id, **changes)  # type: ignore[arg-type]


def feedback(*judgments: Judgment) -> Feedback:
    return Feedback(PROMPTS, RESPONSES, judgments)


def test_what_a_pair_can_hold_comes_back(tmp_path: Path) -> None:
    said = read(FILES / "pairs.jsonl")
    exported = export(as_feedback(said), "pairs", names=True)
    assert not exported.lost
    path = tmp_path / "a.jsonl"
    path.write_text(exported.text, encoding="utf-8")
    assert replace(read(path), lost=said.lost) == said


@pytest.mark.parametrize(
    ("judgment", "lost"),
    [
        (drawn(choice=0, ties=True), {"ties": 1}),
        (drawn(choice=0, ties=True, both_bad=True), {"both_bad": 1}),
        (drawn(ties=True), {"ties_offered": 1}),
        (drawn(strength=3, choice=-2), {"degrees": 1}),
        (drawn(meta={}), {"sides": 1}),
        (drawn(meta={SIDES: "drawn", "prompt": "p", "gone": None}), {"meta": 2}),
        (drawn(gold=-1, round=2, shown_at="now", ballot="b"), {"gold": 1, "round": 1, "shown_at": 1, "ballot": 1}),
        (drawn(right="unknown"), {"without_text": 1}),
        (Rating(rater="ana", response=GRASS.id, value=3), {"ratings": 1}),
        (Skip(rater="ana", reason="no"), {"skips": 1}),
    ],
)
def test_what_a_pair_cannot_hold_is_named(judgment: Judgment, lost: dict[str, int]) -> None:
    assert dict(export(feedback(judgment), "pairs").lost.counts) == lost


def test_a_correction_replaces_what_it_corrects() -> None:
    first, second = drawn(ballot="b"), drawn(ballot="b", revision=1, choice=1)
    exported = export(feedback(first, second), "pairs")
    (line,) = exported.text.splitlines()
    assert json.loads(line)["chosen"] == SUGAR.text
    assert exported.lost.counts["corrected"] == 1


def test_pairs_of_a_settlement() -> None:
    settlement = Settlement(
        round=1,
        verdicts=tuple(
            Verdict(one.id, "overall", value, 0.3, 4) for one, value in ((GRASS, 1.5), (SUGAR, -0.5), (LAZY, 0.25))
        ),
        pairs=(
            PairVerdict(GRASS.id, SUGAR.id, "overall", 0.75),
            PairVerdict(SUGAR.id, LAZY.id, "overall", 0.25),
            PairVerdict(GRASS.id, LAZY.id, "overall", 0.6),
            PairVerdict(GRASS.id, LAZY.id, "clarity", 0.5),
            PairVerdict(GRASS.id, SINKS.id, "clarity", 1.0),
        ),
        skills=(),
        iterations=1,
        judgments_hash="",
    )
    tie = drawn(right=LAZY.id, choice=0, ties=True)
    told = (tie, replace(tie, rater="ben", both_bad=True), replace(tie, rater="eve", choice=1))
    exported = export(replace(feedback(*told), settlement=settlement), "pairs")
    assert [json.loads(line) for line in exported.text.splitlines()] == [
        {"prompt": FROST.text, "chosen": GRASS.text, "rejected": SUGAR.text, "p": 0.75, "weight": 0.5, "margin": 2.0},
        {"prompt": FROST.text, "chosen": LAZY.text, "rejected": SUGAR.text, "p": 0.75, "weight": 0.5, "margin": 0.75},
        {
            "prompt": FROST.text,
            "chosen": GRASS.text,
            "rejected": SINKS.text,
            "p": 1.0,
            "weight": 1.0,
            "criterion": "clarity",
        },
    ]
    assert dict(exported.lost.counts) == {"ties": 2}
    bad = tuple(replace(one, choice=0, both_bad=True) for one in told)
    assert export(replace(feedback(*bad), settlement=settlement), "pairs").lost.counts["both_bad"] == 1


def test_a_passage_stands_before_the_question() -> None:
    said = drawn(left=SINKS.id, right=SUGAR.id)
    assert (
        json.loads(export(feedback(said), "pairs").text)["prompt"] == "Cold air sinks.\n\nWhy does mist lie in valleys?"
    )
