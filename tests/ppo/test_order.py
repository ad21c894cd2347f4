"""The walk over the prompts is fair, never repeats a prompt within an update, and resumes anywhere."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from expound.ppo.order import PromptOrder
from expound.records import Round


def walk(seed: int, number: int, ids: list[str], count: int, updates: int) -> list[tuple[str, ...]]:
    taken, order = [], PromptOrder()
    for _ in range(updates):
        some, order = order.take(ids, count, Round(number, seed, "{}", ""))
        taken.append(some)
    return taken


@settings(deadline=None)
@given(st.integers(1, 12), st.data(), st.integers(0, 99))
def test_every_pass_holds_every_prompt_once(size: int, data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(1, size))
    ids = [f"p{n}" for n in range(size)]
    taken = walk(seed, 1, ids, count, 3 * size)
    assert all(len(set(some)) == count for some in taken)
    assert Counter(id_ for some in taken for id_ in some) == dict.fromkeys(ids, 3 * count)


def test_the_walk_depends_on_seed_and_round_and_not_on_the_order_given() -> None:
    ids = [f"p{n}" for n in range(20)]
    first = walk(1, 1, ids, 8, 4)
    assert first == walk(1, 1, ids[::-1], 8, 4)
    assert first != walk(1, 2, ids, 8, 4)
    assert first != walk(2, 1, ids, 8, 4)
