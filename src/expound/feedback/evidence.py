"""Judgments as arrays: who said which category of which response or pair, and which responses hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from expound.errors import JudgmentError
from expound.records import BallotKind, Comparison, Rating

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

MOST_IN_A_BLOCK = 2000


@dataclass(frozen=True, order=True)
class Group:
    """Judgments of one kind about one criterion: their facets share a prior."""

    kind: BallotKind
    criterion: str


@dataclass(frozen=True, order=True)
class Facet:
    """One rater in one kind of judgment about one criterion."""

    group: Group
    rater: str


@dataclass(frozen=True, order=True)
class Scale:
    """The categories that judgments of a group could choose from; those of comparisons mirror each other."""

    group: Group
    categories: int

    @property
    def is_symmetric(self) -> bool:
        """Return whether the cuts between the categories mirror each other about 0."""
        return self.group.kind == "comparison"


@dataclass(frozen=True)
class SameSize:
    """All blocks of one size: `count` of them, from `place` of the ordered responses, from `start` of the matrices."""

    size: int
    count: int
    place: int
    start: int


@dataclass(frozen=True)
class Blocks:
    """Where each block of compared responses has its matrix in one flat array.

    `order` [responses] sorts by block; `diagonal` [responses] is the place of (i, i); `across` and `back`
    [comparisons] are the places of (left, right) and (right, left).
    """

    sizes: tuple[SameSize, ...]
    total: int
    order: Ints
    diagonal: Ints
    across: Ints
    back: Ints


@dataclass(frozen=True)
class Evidence:
    """Judgments as arrays, in an order that does not depend on the order in which they came.

    Comparisons come first. `first` is the left or the rated response; `second` the right one, of a rating the number
    of responses, where quality is 0. A high `category` prefers the left, or rates high.
    """

    responses: tuple[str, ...]
    facets: tuple[Facet, ...]
    scales: tuple[Scale, ...]
    groups: tuple[Group, ...]
    first: Ints
    second: Ints
    category: Ints
    facet: Ints
    scale: Ints
    comparisons: int
    blocks: Blocks

    @property
    def group_of_facet(self) -> Ints:
        """Return the group of each facet."""
        place = {group: number for number, group in enumerate(self.groups)}
        return np.array([place[facet.group] for facet in self.facets], dtype=np.intp)

    @property
    def group_of_scale(self) -> Ints:
        """Return the group of each scale."""
        place = {group: number for number, group in enumerate(self.groups)}
        return np.array([place[scale.group] for scale in self.scales], dtype=np.intp)

    def per_facet(self, values: Floats) -> Floats:
        """Return the sums of values [judgments] over the judgments of each facet."""
        return np.bincount(self.facet, values, len(self.facets))


def collect(judgments: Sequence[Comparison | Rating]) -> Evidence:
    """Return the judgments as arrays.

    Errors: JudgmentError for a category that its scale does not have, or more than 2,000 responses in one block.
    """
    rows = sorted(_row(judgment) for judgment in judgments)
    scales, facets = sorted({row[0] for row in rows}), sorted({Facet(row[0].group, row[1]) for row in rows})
    responses = sorted({name for row in rows for name in row[2:4] if name})
    place = {name: number for number, name in enumerate(responses)} | {"": len(responses)}
    facet_place = {(facet.group, facet.rater): number for number, facet in enumerate(facets)}
    scale_place = {scale: number for number, scale in enumerate(scales)}
    first = np.array([place[row[2]] for row in rows], dtype=np.intp)
    second = np.array([place[row[3]] for row in rows], dtype=np.intp)
    comparisons = int((second < len(responses)).sum())
    return Evidence(
        responses=tuple(responses),
        facets=tuple(facets),
        scales=tuple(scales),
        groups=tuple(sorted({scale.group for scale in scales})),
        first=first,
        second=second,
        category=np.array([row[4] for row in rows], dtype=np.intp),
        facet=np.array([facet_place[row[0].group, row[1]] for row in rows], dtype=np.intp),
        scale=np.array([scale_place[row[0]] for row in rows], dtype=np.intp),
        comparisons=comparisons,
        blocks=_blocks(first[:comparisons], second[:comparisons], len(responses)),
    )


def _row(judgment: Comparison | Rating) -> tuple[Scale, str, str, str, int]:
    if isinstance(judgment, Comparison):
        group = Group("comparison", judgment.criterion)
        scale = Scale(group, 2 * judgment.strength + judgment.ties)
        category = judgment.strength - judgment.choice - (judgment.choice < 0 and not judgment.ties)
        is_known = judgment.ties or judgment.choice != 0
        row = (scale, judgment.rater, judgment.left, judgment.right, category)
    else:
        group = Group("rating", judgment.criterion)
        scale = Scale(group, judgment.scale[1] - judgment.scale[0] + 1)
        category, is_known = judgment.value - judgment.scale[0], True
        row = (scale, judgment.rater, judgment.response, "", category)
    if not (is_known and 0 <= category < scale.categories and scale.categories > 1):
        raise JudgmentError(
            f"rater {judgment.rater} gave a judgment outside its scale: {judgment}.",
            "Correct or remove that judgment.",
        )
    return row


def _blocks(left: Ints, right: Ints, responses: int) -> Blocks:
    """Return the layout of the connected components of compared responses, equal sizes side by side."""
    graph = coo_array((np.ones(left.size), (left, right)), shape=(responses, responses))
    label = connected_components(graph, directed=False)[1]
    members = np.bincount(label)
    _refuse_large(int(members.max()))
    size = members[label]
    order = np.lexsort((label, size))
    begins = np.flatnonzero(np.diff(label[order], prepend=-1))
    block = np.searchsorted(begins, np.arange(responses), side="right") - 1
    sizes = size[order][begins]
    starts = np.cumsum(sizes**2) - sizes**2
    row, column = np.empty(responses, dtype=np.intp), np.empty(responses, dtype=np.intp)
    column[order] = np.arange(responses) - begins[block]
    row[order] = starts[block] + column[order] * sizes[block]
    kinds, at, counts = np.unique(sizes, return_index=True, return_counts=True)
    return Blocks(
        sizes=tuple(
            SameSize(int(kind), int(count), int(begins[index]), int(starts[index]))
            for kind, index, count in zip(kinds, at, counts, strict=True)
        ),
        total=int((sizes**2).sum()),
        order=order,
        diagonal=row + column,
        across=row[left] + column[right],
        back=row[right] + column[left],
    )


def _refuse_large(size: int) -> None:
    if size > MOST_IN_A_BLOCK:
        raise JudgmentError(
            f"{size} responses are compared with one another, directly or through others; the fit holds "
            f"{MOST_IN_A_BLOCK} at most.",
            "Compare responses of the same prompt only.",
        )
