"""Identity: the same content is the same thing, and whatever is not content changes no id."""

from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError, replace

import pytest

from expound.records import Ballot, Prompt, Response, Round, Text, content_id
from expound.tasks.material import prompt_of


def test_an_id_is_the_sha256_of_canonical_json() -> None:
    expected = hashlib.sha256('["prompt","ä",null,1]'.encode()).hexdigest()[:20]
    assert content_id("prompt", "ä", None, 1) == expected


def test_parts_do_not_run_into_one_another() -> None:
    assert content_id("ab", "c") != content_id("a", "bc")
    assert content_id("1") != content_id(1)
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1})


def test_a_prompt_is_its_question_and_source_alone() -> None:
    prompt = prompt_of("Why?", "Because.")
    assert prompt_of("Why?", "Because.", name="other") == replace(prompt, name="other")
    assert prompt_of("Why?", "Since.").id != prompt.id
    assert prompt_of("Why?").id != prompt.id
    assert prompt_of("Why?Because.").id != prompt.id


def test_a_prompt_knows_its_parts() -> None:
    prompt = Prompt("p", (Text("source", "Because."), Text("question", "Why?")))
    assert (prompt.text, prompt.source) == ("Why?", "Because.")
    assert Prompt("p", (Text("question", "Why?"),)).source == ""


def test_equal_texts_of_two_samples_stay_two_responses() -> None:
    ids = {Response.make_id("p", "policy", round_, sample, "So.") for round_ in (1, 2) for sample in (0, 1)}
    assert len(ids) == 4
    assert Response.make_id("p", "policy", 1, 0, "So.") == Response.make_id("p", "policy", 1, 0, "So.")
    assert Response.make_id("p", "policy", 1, 0, "So!") != Response.make_id("p", "policy", 1, 0, "So.")


def ballot(*responses: str, copy: int = 0) -> Ballot:
    return Ballot(Ballot.make_id("comparison", "p", responses, 1, copy), "comparison", "p", responses, 1, "train", copy)


def test_copies_of_a_question_are_several_ballots_and_one_question() -> None:
    first, second = ballot("a", "b"), ballot("b", "a", copy=1)
    assert first.id != second.id
    assert first.question == second.question
    assert ballot("a", "c").question != first.question
    assert ballot("a", "b").id == first.id


def test_the_sides_of_a_ballot_are_part_of_its_id() -> None:
    assert ballot("a", "b").id != ballot("b", "a").id


def test_everything_random_of_a_round_follows_from_seed_number_and_purpose() -> None:
    keys = {Round(number, seed, "", "").key(what) for number in (1, 2) for seed in (0, 1) for what in ("tune", "fit")}
    assert len(keys) == 8
    assert Round(1, 0, "a", "b").key("tune") == Round(1, 0, "c", "d").key("tune")


def test_records_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        prompt_of("Why?").name = "other"  # type: ignore[misc]
