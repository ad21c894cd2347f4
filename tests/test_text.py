"""Text tools against texts split, counted and read by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expound import text


def test_sentences_keep_decimals_abbreviations_and_initials_whole() -> None:
    passage = "It was 12.5 degrees at 4 a.m. in the shop. Dr. Lee and J. Moreau came at 5 p.m. He left? Yes!"
    assert text.sentences(passage) == (
        "It was 12.5 degrees at 4 a.m. in the shop.",
        "Dr. Lee and J. Moreau came at 5 p.m.",
        "He left?",
        "Yes!",
    )


def test_sentences_end_at_lines_quotes_and_chinese_stops() -> None:
    assert text.sentences('She said "Stop." Then\n1. The bell rang\n- twice.') == (
        'She said "Stop."',
        "Then",
        "The bell rang",
        "twice.",
    )
    assert text.sentences("今天很冷。窗户开着！为什么？") == ("今天很冷。", "窗户开着！", "为什么？")
    assert text.sentences(" \n ") == ()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("The oven was cold. The dough", "The oven was cold."),
        ("It cost 3.50 and the rest was 4.5", ""),
        ("It cost 3.50. The rest was 4.5", "It cost 3.50."),
        ("He met Dr. Lee", ""),
        ("Who came? Mr. No", "Who came?"),
        ("It stopped ... and went on", ""),
        ('"Stop!" she', '"Stop!"'),
        ("A stop apart .", ""),
        ("窗户开着。面", "窗户开着。"),
        ("", ""),
    ],
)
def test_finished_part_cuts_behind_the_last_stop(given: str, kept: str) -> None:
    assert text.finished_part(given) == kept


@given(st.text(alphabet="ab .!?\n3", max_size=60))
def test_finished_part_is_a_beginning_and_settles(passage: str) -> None:
    kept = text.finished_part(passage)
    assert passage.startswith(kept)
    assert text.finished_part(kept) == kept


def test_is_ended() -> None:
    assert text.is_ended('He said "go."')
    assert not text.is_ended("He met Dr.")
    assert not text.is_ended("He went. Then she")


def test_words_keep_numbers_hyphens_and_apostrophes_whole() -> None:
    assert text.words("Half-open at 4:10, it’s 1,000.5 m.") == ("Half-open", "at", "4:10", "it’s", "1,000.5", "m")
    assert text.words("窗户open") == ("窗", "户", "open")


@pytest.mark.parametrize(
    "family",
    [
        "slow slowed slowing slowly slower slows",
        "stop stopped stopping stops",
        "close closed closing closes",
        "dry dried dries",
        "happy happily",
        "class classes",
        "oven ovens oven's",
    ],
)
def test_a_family_of_words_has_one_stem(family: str) -> None:
    assert len({text.stem(word) for word in family.split()}) == 1


def test_different_words_keep_different_stems() -> None:
    apart = "glass bus window open cold yeast river table ten tin red read".split()
    assert len({text.stem(word) for word in apart}) == len(apart)


@pytest.mark.parametrize(
    ("passage", "found"),
    [
        ("twelve degrees", {"12"}),
        ("two hundred and five cats, twenty-three dogs", {"205", "23"}),
        ("three thousand four hundred", {"3400"}),
        ("1,000 men, 12.50 euros, 007", {"1000", "12.5", "7"}),
        ("at 4:10", {"4", "10"}),
        ("the 3rd of three", {"3"}),
        ("a 250-gram bag", {"250"}),
        ("seven and eight", {"7", "8"}),
        ("none of it", set()),
    ],
)
def test_numbers_have_one_form(passage: str, found: set[str]) -> None:
    assert text.numbers(passage) == found


def test_names_are_capitals_inside_sentences() -> None:
    passage = "The baker met Maria's dog. In Paris I’m told that Lee slept. Then I left."
    assert text.names(passage) == {"Maria", "Paris", "Lee"}


def test_repetition_counts_runs_that_came_before() -> None:
    assert text.repeated_ngrams("a b c d a b c") == 1
    assert text.repeated_ngrams("a b c a b c a b c") == 4
    assert text.repeated_ngrams("a b") == 0


def test_copied_words_counts_long_runs_only() -> None:
    source = "one two three four five six seven eight nine ten eleven twelve"
    assert text.copied_words("Two three, four five six seven eight nine ten!", source) == 9
    assert text.copied_words("two three four five six seven eight nine", source) == 0
    assert text.copied_words(f"{source} and then more besides", source) == 12
    assert text.copied_words("", source) == 0


@given(
    st.lists(st.sampled_from("a b c d e".split()), max_size=30), st.lists(st.sampled_from("a b c".split()), max_size=9)
)
def test_added_words_never_lessen_what_is_copied_or_repeated(tokens: list[str], added: list[str]) -> None:
    source = " ".join("a b c d e a c b d a e b".split())
    before, after = " ".join(tokens), " ".join([*tokens, *added])
    assert text.copied_words(after, source) >= text.copied_words(before, source)
    assert text.repeated_ngrams(after) >= text.repeated_ngrams(before)
