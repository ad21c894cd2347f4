"""The order check: honest English passes, whatever it is about; broken order does not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from expound.panel.order import Neighbours, Spelling, is_ordered
from expound.text import sentences

ROOT = Path(__file__).parents[2]
NOTHING = Spelling(frozenset(), frozenset())

HONEST = [
    "The loaves rose slowly because the window had been open all night.",
    "It was not over before ten, so the paper could not print it.",
    "In May, the harbour was closed to all of the bigger ships.",
    "That is why none of them came in on time.",
    "Because of the frost, most of what they had planted was lost.",
    "The reason the dough was slow was the cold.",
    "She gave it to him as soon as he had asked for it.",
    "Neither the pump nor the pipe it feeds had ever been cleaned.",
    "During the week the shop was shut, a fox got in.",
    'The answer is: "The window was open."',
]
BROKEN = [
    "The the window was open.",
    "Window the of open stood because.",
    "It was because the was window open.",
    "They could opened the window.",
    "The window been open all night.",
    "He of the night opened a windows.",
    "Because window open yeast cold slow thermometer twelve dough night four.",
    "The window was open This is the reason.",
    "A open window let in cold air.",
    "The drank bees syrup from the barrels.",
    "The dough the oven was cold.",
    "Bread, oven, yeast, window, night, cold.",
    "Window and yeast and dough and night and cold.",
]


@pytest.mark.parametrize("sentence", HONEST)
def test_honest_sentences_pass(sentence: str) -> None:
    assert is_ordered(sentence, NOTHING)


@pytest.mark.parametrize("sentence", BROKEN)
def test_broken_sentences_do_not(sentence: str) -> None:
    assert not is_ordered(sentence, NOTHING)


def rows() -> list[tuple[str, str]]:
    """Read the question and source of every prompt of the example."""
    paths = sorted((ROOT / "src/expound/examples/answer/prompts").glob("*.jsonl"))
    parsed = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["text"], row["source"]) for row in parsed]


def test_the_sources_of_the_example_pass_and_few_of_their_shuffles_do() -> None:
    """The tables alone let a sixth of shuffled single sentences through; familiarity sees to most of the rest."""
    passed: list[bool] = []
    slipped: list[bool] = []
    for question, source in rows():
        generator, spelling = random.Random(source), Spelling.of(source, question)
        for sentence in sentences(source):
            passed.append(is_ordered(sentence, spelling))
            tokens = sentence.split()
            generator.shuffle(tokens)
            slipped.append(is_ordered(" ".join(tokens), spelling))
    assert sum(passed) / len(passed) > 0.98
    assert sum(slipped) / len(slipped) < 0.2


def test_capitals_of_the_material_are_names() -> None:
    spelling = Spelling.of("The cold woke An in Hoi An.", "Why?")
    assert is_ordered("They saw Hoi leave.", spelling)
    assert not is_ordered("They saw The boy leave.", spelling)
    assert not is_ordered("They felt Cold air.", spelling)


def test_familiarity_knows_order_from_the_material() -> None:
    neighbours = Neighbours.of([["cold", "air", "slow", "the", "yeast"]])
    assert neighbours.familiarity(["cold", "air", "slow", "the", "yeast"]) == pytest.approx(3)
    assert neighbours.familiarity(["yeast", "slow", "air", "cold"]) == pytest.approx(-0.5)
    assert neighbours.familiarity(["cold"]) == 0
