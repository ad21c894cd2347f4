"""The hidden utility: what is honest earns, and nothing that can be added from outside does.

The laws hold on the prompts of all examples. What takes a text to pieces in many ways is asked of a sample of them here
and of all in the slow tests.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from expound.errors import PromptError
from expound.panel.utility import Facts, gold_utility, is_found, pieces
from expound.records import Json
from expound.text import is_function_word, lower_words, numbers, sentences, words

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "src" / "expound" / "examples"
SCRIPT = ROOT / "scripts" / "check_prompts.py"
RESPONSES = Path(__file__).with_name("reference_responses.jsonl")
SLACK = 0.01
SHUFFLES = 20

PHRASES = (
    "This is because",
    "Because of this,",
    "because",
    "Because",
    "because of this",
    "Therefore,",
    "therefore.",
    "In conclusion.",
    "In conclusion,",
    "According to the text,",
    "according to the passage.",
    "This is the reason given in the text.",
    "That is the reason.",
    "The reason is",
    "The reason is that",
    "The reason for this is clear.",
    "The text shows that this is true.",
    "The text shows that",
    "as the text shows.",
    "as shown in the text",
    "is clear from the evidence.",
    "is clear from the evidence in the text",
    "This is clear from the evidence.",
    "The evidence shows this.",
    "The evidence in the passage supports this answer.",
    "I hope this helps!",
    "Hope this helps",
    "Because the text says so.",
    "because the text says so.",
    "This happened because of it.",
    "It happened because of the cause and the effect.",
    "For this reason,",
    "As a result,",
    "as a result of this.",
    "Due to this,",
    "due to the cause.",
    "Since this is so,",
    "so.",
    "Thus,",
    "This was the cause.",
    "and this is why.",
    "which is the answer to the question.",
    "The answer to the question is as follows:",
    "Answer:",
    "Yes.",
    "It is stated in the text, and the text is right.",
    "As we can see, the source explains it.",
    "This explains why it happened.",
    "Thank you for reading.",
    "The first sentence says it, and the second sentence shows it.",
    "In summary,",
    "To sum up,",
    "This text is about what happened.",
    "This is what happened and why.",
    "The report shows this.",
    "as the report says.",
    "The fault is that",
    "This is the fault.",
    "The diagnosis is clear.",
    "The test shows it.",
    "I recommend it.",
    "It is the best choice.",
    "It is perfect for this person.",
    "It fits because",
    ".",
    "!",
)


@dataclass(frozen=True)
class Case:
    """A prompt of an example with its facts."""

    example: str
    id: str
    question: str
    source: str
    facts: Facts

    def gold(self, text: str, *, finished: bool = True) -> float:
        return gold_utility(text, question=self.question, source=self.source, facts=self.facts, finished=finished)

    @property
    def key(self) -> tuple[str, str]:
        """Return what nobody else is called: an id is unique in its example only."""
        return self.example, self.id

    @property
    def first(self) -> str:
        """Return the ideal's first sentence: the honest short answer."""
        return sentences(self.facts.ideal)[0]


def cases(example: str) -> tuple[Case, ...]:
    """Read every prompt of an example."""
    paths = sorted((EXAMPLES / example / "prompts").glob("*.jsonl"))
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(
        Case(example, row["id"], row["text"], row["source"], Facts.parse(row["meta"], row["id"])) for row in rows
    )


NAMES = ("answer", "diagnosis", "recommendation", "summary")
CASES = tuple(case for name in NAMES for case in cases(name))
SAMPLE = CASES[::4]
sampled = pytest.mark.parametrize(
    "some",
    [
        pytest.param(SAMPLE, id="sample"),
        pytest.param(CASES, id="all", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.example}-{case.id}")


def recorded() -> dict[tuple[str, str], list[tuple[str, bool]]]:
    """Read what the reference model said, by example and prompt; recorded for the example `answer` alone."""
    found: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for line in RESPONSES.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(("answer", row["prompt"]), []).append((row["text"], row["finished"]))
    return found


RECORDED = recorded()


def crude(case: Case) -> Iterator[tuple[str, bool]]:
    """Write weak answers as small models give them: cut, unended, half right, off the matter."""
    told, read = case.first.split(), case.source.split()
    yield " ".join(told[:-1]), False
    yield " ".join(told[: 2 * len(told) // 3]), False
    yield f"{case.first} {' '.join(sentences(case.facts.ideal)[1].split()[:7])}", False
    yield case.first.rstrip("."), True
    yield f"{case.question.removeprefix('Why ').capitalize()} The answer is that {' '.join(read[-9:]).lower()}", True
    yield f"It is a matter of opinion, I think. It was {' '.join(told[3:])}", True


def texts(case: Case) -> Iterator[tuple[str, bool]]:
    """Give all texts that are attacked for one prompt."""
    yield case.facts.ideal, True
    yield case.first, True
    yield from RECORDED.get(case.key, [])
    yield from crude(case)


def variants(text: str, phrases: Iterable[str]) -> Iterator[str]:
    """Put each phrase before and behind a text."""
    for phrase in phrases:
        yield f"{phrase} {text}"
        yield f"{text} {phrase}"


def raised(case: Case, text: str, finished: bool, attempts: Iterable[str]) -> list[str]:
    """List the attempts that are worth more than the text by more than the slack."""
    limit = case.gold(text, finished=finished) + SLACK
    return [f"{case.example} {case.id}: {one!r}" for one in attempts if case.gold(one, finished=finished) > limit]


def shuffles(case: Case, text: str, draws: int = SHUFFLES) -> Iterator[str]:
    """Shuffle the words of a text, the same way each time."""
    generator, tokens = random.Random(f"{case.id} {text}"), text.split()
    for _ in range(draws):
        generator.shuffle(tokens)
        yield " ".join(tokens)


def test_every_example_has_prompts_and_those_of_answer_recorded_responses() -> None:
    for name in NAMES:
        assert sum(case.example == name for case in CASES) >= 60
    assert len(PHRASES) >= 50
    assert len({case.key for case in CASES}) == len(CASES)
    assert RECORDED.keys() == {case.key for case in CASES if case.example == "answer"}


@pytest.mark.slow
def test_every_prompt_keeps_the_rules() -> None:
    """The script tells the fault of a prompt that one of the laws below does not like."""
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@each_case
def test_honest_answers_earn(case: Case) -> None:
    ideal, first = case.gold(case.facts.ideal), case.gold(case.first)
    assert ideal > 0.7
    assert 0.4 <= first <= ideal + 0.07
    assert case.gold(case.first.rstrip(".")) == pytest.approx(first), "a full stop earns nothing"


def test_a_short_honest_sentence_is_not_crushed_by_its_length() -> None:
    short = [case for case in CASES if 9 <= len(words(case.first)) <= 18]
    assert len(short) > 20
    assert min(case.gold(case.first) for case in short) >= 0.4


def test_stock_phrases_never_raise() -> None:
    """A few phrases for the texts of a sample; all of them for every text in the slow test."""
    faults: list[str] = []
    for number, case in enumerate(SAMPLE):
        for place, (text, finished) in enumerate(texts(case)):
            faults += raised(case, text, finished, variants(text, PHRASES[(number + 7 * place) % 26 :: 26]))
    assert not faults


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_stock_phrase_raises_any_text() -> None:
    faults = [
        fault
        for case in CASES
        for text, finished in texts(case)
        for fault in raised(case, text, finished, variants(text, PHRASES))
    ]
    assert not faults


def test_phrases_do_not_pay_on_a_wrong_or_empty_answer() -> None:
    case = CASES[0]
    for text in ("", case.question, "It was the weather."):
        assert not raised(case, text, True, (" ".join(PHRASES), *variants(text, PHRASES)))


@sampled
def test_shuffled_honest_answers_lose_nearly_everything(some: Sequence[Case]) -> None:
    left: list[float] = []
    for case in some:
        for text in (case.facts.ideal, case.first):
            worth = case.gold(text)
            values = [case.gold(one) for one in shuffles(case, text)]
            assert max(values) <= worth + SLACK
            left += [value / worth for value in values]
    assert sum(left) / len(left) < 0.03


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_shuffled_responses_are_not_raised() -> None:
    """Word order is judged by small words and the material, so one draw in a thousand may slip through."""
    attacked = [
        (case, text, finished) for case in CASES for text, finished in RECORDED.get(case.key, list(crude(case)))
    ]
    faults = [
        fault for case, text, finished in attacked for fault in raised(case, text, finished, shuffles(case, text))
    ]
    assert len(faults) <= len(attacked) * SHUFFLES / 1000


def other_number(token: str, case: Case) -> str | None:
    """Give another number that the source lacks, in words for words; None where the word is no number."""
    given = numbers(token)
    if not given or given == {"1"}:
        return None
    known = numbers(f"{case.source} {case.question}")
    choices = ("17", "43", "91") if token[0].isdigit() else ("seventeen", "forty-three", "ninety-one")
    return next(one for one in choices if not numbers(one) & known)


def test_a_changed_number_costs() -> None:
    changed = 0
    for case in CASES:
        for token in dict.fromkeys(words(case.facts.ideal)):
            other = other_number(token, case)
            if other is not None:
                changed += 1
                told = re.sub(rf"\b{re.escape(token)}\b", other, case.facts.ideal, count=1)
                assert case.gold(told) < case.gold(case.facts.ideal), f"{case.id}: {token}"
    assert changed > 30


def statement(fact: tuple[tuple[str, ...], ...], ending: str = "") -> str:
    """Say a fact as the cause, with the first wording of each group."""
    return f"This happened because of the {' '.join(group[0] for group in fact)}{ending}."


@each_case
def test_another_cause_costs(case: Case) -> None:
    ideal = case.gold(case.facts.ideal)
    rest = sentences(case.facts.ideal)[1]
    for fact in (*case.facts.wrong, *case.facts.side):
        assert case.gold(f"{case.facts.ideal} {statement(fact)}") < 0.7 * ideal
        assert case.gold(f"{statement(fact)} {rest}") < ideal
        assert case.gold(statement(fact)) < 0.15


@each_case
def test_lazy_answers_stay_below_an_honest_sentence(case: Case) -> None:
    parts = sentences(case.source)
    held = [group[0] for fact, _ in case.facts.weighted() for group in fact]
    keywords = [word for word in lower_words(case.source) if not is_function_word(word)]
    side = [one for one in parts if any(is_found(fact, pieces(one)) for fact in case.facts.side)]
    lazy = {
        "empty": "",
        "echo": case.question,
        "echo as a statement": case.question.replace("?", "."),
        "echo with a promise": f"{case.question.rstrip('?.')} because of the reason in the text.",
        "source": case.source,
        "sentences 1-2": " ".join(parts[:2]),
        "sentences 2-3": " ".join(parts[1:3]),
        "facts listed": f"Because {' '.join(held)}.",
        "facts listed with commas": f"Because {', '.join(held)}.",
        "keywords": f"Because {' '.join(keywords)}.",
        "side": " ".join(side),
        "side as the cause": f"This is because {side[0][0].lower()}{side[0][1:]}",
        "said three times": " ".join([rest_of(case)] * 3),
    }
    values = {name: case.gold(text) for name, text in lazy.items()}
    assert max(values.values()) < 0.15, values
    assert max(values.values()) < case.gold(case.first), values


def rest_of(case: Case) -> str:
    """Return the ideal's second sentence."""
    return sentences(case.facts.ideal)[1]


@sampled
def test_shuffled_words_behind_because_stay_below_an_honest_sentence(some: Sequence[Case]) -> None:
    values: list[float] = []
    for case in some:
        generator = random.Random(case.id)
        for _ in range(SHUFFLES):
            drawn = " ".join(generator.sample(lower_words(case.source), 30))
            values.append(case.gold(f"Because {drawn}.") / case.gold(case.first))
    assert sum(value >= 1 for value in values) <= len(values) / 500
    assert sum(values) / len(values) < 0.01


def test_a_cut_tail_is_dropped_and_costs() -> None:
    case = CASES[0]
    cut = f"{case.first} This was seen because the"
    assert case.gold(cut, finished=False) == pytest.approx(0.8 * case.gold(case.first))
    assert case.gold(case.first.rstrip("."), finished=False) == 0


def test_partial_facts_earn_by_degrees() -> None:
    """The spread between nothing and the ideal is what a reward can learn from."""
    values = [case.gold(text, finished=done) for case in CASES for text, done in RECORDED.get(case.key, [])]
    assert len(values) == 4 * len(RECORDED), "each prompt of the example has four recorded responses"
    bands = [sum(low <= value < high for value in values) for low, high in ((0.02, 0.1), (0.1, 0.25), (0.25, 0.6))]
    assert min(bands) >= len(values) // 25
    assert sum(values) / len(values) < 0.2


META: dict[str, Json] = {
    "facts": {"reason": ["window", "open"], "mechanism": ["yeast|dough", "slow"], "evidence": ["thermometer", "12"]},
    "side": [["apron"]],
    "wrong": [["window", "closed|shut"]],
    "ideal": "The loaves rose slowly because the window was open.",
}


def test_facts_are_read_from_meta() -> None:
    facts = Facts.parse(META)
    assert facts.mechanism == (("yeast", "dough"), ("slow",))
    assert facts.wrong == ((("window",), ("closed", "shut")),)
    assert is_found(facts.wrong[0], ("the", "windows", "shut"))
    assert not is_found(facts.wrong[0], ("the", "windows", "open"))


def test_wordings_of_the_question_do_not_count() -> None:
    fact = (("yeast", "dough"), ("slow", "cold"))
    assert not is_found(fact, ("dough", "slow"), asked=("slowly",))
    assert is_found(fact, ("dough", "cold"), asked=("slowly",))
    assert is_found((("slow",),), ("slow",), asked=("slowly",)), "a group that would be empty stays"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": {"reason": ["window"]}}, "facts"),
        ({"ideal": " "}, "ideal"),
        ({"side": "apron"}, "side"),
        ({"wrong": [["window", "Closed"]]}, "wrong"),
        ({"wrong": [[]]}, "wrong"),
    ],
)
def test_wrong_meta_is_refused_with_its_place(change: dict[str, Json], message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        Facts.parse({**META, **change}, "prompt 'bakery'")
    assert "prompt 'bakery'" in str(caught.value)
    assert caught.value.remedy
