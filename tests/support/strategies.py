"""Judgments of every kind, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from hypothesis import strategies as st

from expound.records import Check, Comparison, Edit, Highlight, Judgment, Ranking, Rating, Score, Skip, Source

LETTERS = st.characters(exclude_categories=("Cs",))
NAME = st.text(LETTERS, min_size=1, max_size=8)
WORDS = st.text(LETTERS, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def judgments(draw: st.DrawFn, responses: Sequence[str] = ()) -> Judgment:
    """Draw any judgment that a file can hold, of these responses where some are given."""
    shared = {
        "rater": draw(NAME),
        "ballot": draw(st.none() | NAME),
        "prompt": draw(st.none() | NAME),
        "split": draw(st.sampled_from(["train", "held_out"])),
        "round": draw(st.integers(0, 5)),
        "revision": draw(st.integers(0, 5)),
        "source": draw(st.sampled_from(get_args(Source))),
        "criterion": draw(st.just("overall") | NAME),
        "seconds": draw(st.none() | st.floats(0, 1e6)),
        "shown_at": draw(st.none() | WORDS),
        "comment": draw(st.none() | WORDS),
        "meta": draw(st.dictionaries(WORDS, JSON, max_size=3)),
    }
    kind = draw(st.sampled_from([Comparison, Rating, Score, Ranking, Check, Edit, Highlight, Skip]))
    name = st.sampled_from(responses) if responses else NAME
    names = draw(st.lists(name, min_size=2, max_size=6, unique=True))
    if kind is Comparison:
        strength, ties = draw(st.integers(1, 10)), draw(st.booleans())
        choice = draw(st.integers(-strength, strength).filter(lambda choice: ties or choice != 0))
        said = {"left": names[0], "right": names[1], "choice": choice, "strength": strength, "ties": ties}
        said |= {"both_bad": choice == 0 and draw(st.booleans())}
        said |= {"gold": draw(st.none() | st.integers(-strength, strength))}
    elif kind is Rating:
        low = draw(st.integers(-3, 3))
        scale = (low, low + draw(st.integers(1, 100)))
        said = {"response": names[0], "value": draw(st.integers(*scale)), "scale": scale}
        said |= {"gold": draw(st.none() | st.integers(*scale))}
    elif kind is Score:
        said = {"response": names[0], "value": draw(st.floats(-1e9, 1e9)), "gold": draw(st.none() | st.just(0.5))}
    elif kind is Ranking:
        cut = draw(st.integers(1, len(names)))
        said = {"tiers": tuple((name,) for name in names[:cut]) + ((tuple(names[cut:]),) if names[cut:] else ())}
        said |= {"gold": draw(st.none() | st.just([names]))}
    elif kind is Check:
        said = {"response": names[0], "value": draw(NAME), "gold": draw(st.none() | NAME)}
    elif kind is Edit:
        said = {"response": names[0], "text": draw(NAME)}
    elif kind is Highlight:
        start = draw(st.integers(0, 99))
        said = {"response": names[0], "start": start, "end": start + draw(st.integers(1, 9)), "type": draw(NAME)}
        said |= {"severity": draw(st.integers(1, 5))}
    else:
        said = {"reason": draw(WORDS)}
    return kind(**shared, **said)
