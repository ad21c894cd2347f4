"""Law of the rows: what is written is read back equal, for every record there can be."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isfinite

from hypothesis import given, settings
from hypothesis import strategies as st

from expound.records import JUDGMENTS, Answer, Check, Comparison, Judgment, Prompt, Ranking, Rating, Skip
from expound.store.codec import KINDS, NAMES, answer_id, decode, decode_answer, encode, encode_answer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
st.register_type_strategy(str, TEXTS)
st.register_type_strategy(float, NUMBERS.filter(isfinite))

prompts = st.builds(Prompt, meta=st.dictionaries(TEXTS, JSON, max_size=3))
others = st.one_of(*(st.from_type(kind) for kind in KINDS.values() if kind is not Prompt))


@settings(deadline=None, max_examples=200)
@given(prompts | others)
def test_a_record_comes_back_equal(record) -> None:
    kind, payload = NAMES[type(record)], encode(record)
    back = decode(kind, payload, "row 1")
    assert back == record
    assert type(back) is type(record)
    assert encode(back) == payload
    assert json.dumps(json.loads(payload), ensure_ascii=False, sort_keys=True, separators=(",", ":")) == payload


def judgments(kind: type[Judgment]) -> st.SearchStrategy[Judgment]:
    return st.builds(kind, gold=JSON, meta=st.dictionaries(TEXTS, JSON, max_size=3))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    answer = draw(st.builds(Answer, judgments=st.just(())))
    lines: list[Judgment] = draw(st.lists(st.one_of(*map(judgments, JUDGMENTS.values())), max_size=3))
    row = (answer.rater, answer.ballot, answer.revision)
    return replace(answer, judgments=tuple(replace(one, rater=row[0], ballot=row[1], revision=row[2]) for one in lines))


@settings(deadline=None, max_examples=200)
@given(answers())
def test_an_answer_comes_back_equal(answer: Answer) -> None:
    assert decode_answer(answer.key, encode_answer(answer), "row 1") == answer


@settings(deadline=None, max_examples=100)
@given(answers(), st.floats(0, 1e6), TEXTS)
def test_times_device_and_language_do_not_change_what_was_said(answer: Answer, seconds: float, words: str) -> None:
    later = tuple(replace(one, seconds=seconds, shown_at=words) for one in answer.judgments)
    assert answer_id(replace(answer, judgments=later, device=words, locale=words, surplus=True)) == answer_id(answer)


@settings(deadline=None, max_examples=100)
@given(answers(), st.integers(-3, 3), TEXTS)
def test_everything_else_does(answer: Answer, number: int, words: str) -> None:
    for place, judgment in enumerate(answer.judgments):
        other = change(judgment, number, words)
        changed = (*answer.judgments[:place], other, *answer.judgments[place + 1 :])
        same = other == judgment
        assert (answer_id(replace(answer, judgments=changed)) == answer_id(answer)) is same
    assert (answer_id(replace(answer, revision=number)) == answer_id(answer)) is (number == answer.revision)


def change(judgment: Judgment, number: int, words: str) -> Judgment:
    match judgment:
        case Comparison():
            return replace(judgment, choice=number)
        case Rating():
            return replace(judgment, value=number)
        case Ranking():
            return replace(judgment, tiers=((words,),))
        case Check():
            return replace(judgment, value=words)
        case Skip():
            return replace(judgment, reason=words)
    return replace(judgment, comment=words)
