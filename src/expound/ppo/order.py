"""Which prompts an update asks about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expound.records import Round
from expound.statistics import keyed_generator


@dataclass(frozen=True)
class PromptOrder:
    """A place in an endless walk over the prompts: every pass is a new permutation, which follows from the round.

    `deferred` are prompts that a pass had for an update which held them already from the pass before; they are first
    in the next update.
    """

    pass_: int = 0
    cursor: int = 0
    deferred: tuple[str, ...] = ()

    def take(self, ids: Sequence[str], count: int, round_: Round) -> tuple[tuple[str, ...], PromptOrder]:
        """Return the next `count` different ids, at most as many as there are, and the place behind them."""
        assert count <= len(ids), "an update cannot hold more different prompts than there are"
        taken, waiting = list(self.deferred[:count]), list(self.deferred[count:])
        pass_, cursor = self.pass_, self.cursor
        while len(taken) < count:
            if cursor == len(ids):
                pass_, cursor = pass_ + 1, 0
            places = keyed_generator("prompts", round_.seed, round_.number, pass_).permutation(len(ids))
            candidate, cursor = sorted(ids)[places[cursor]], cursor + 1
            (waiting if candidate in taken else taken).append(candidate)
        return tuple(taken), PromptOrder(pass_, cursor, tuple(waiting))
