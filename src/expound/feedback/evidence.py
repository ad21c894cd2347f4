"""Judgments as arrays: who said which category of which response or pair, and which responses hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from expound.errors import JudgmentError
from expound.records import BallotKind, Comparison, Rating

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Row = tuple[BallotKind, str, int, str, str, str, int]
Key = TypeVar("Key", bound=tuple[str | int, ...])

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
    """The categories that judgments of a group could choose from; the cuts of comparisons mirror each other about 0."""

    group: Group
    categories: int


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
        return np.array([self.groups.index(facet.group) for facet in self.facets], dtype=np.intp)

    @property
    def group_of_scale(self) -> Ints:
        """Return the group of each scale."""
        return np.array([self.groups.index(scale.group) for scale in self.scales], dtype=np.intp)

    def per_group(self, values: Floats) -> Floats:
        """Return the sums of values [facets] over the facets of each group."""
        return totals(self.group_of_facet, values, len(self.groups))


def totals(places: Ints, values: Floats, count: int) -> Floats:
    """Return [count] the sums of the values that belong to each place."""
    return np.bincount(places, values, count).astype(np.float64, copy=False)


def collect(judgments: Sequence[Comparison | Rating]) -> Evidence:
    """Return the judgments as arrays.

    Errors: JudgmentError for a category that its scale does not have, or more than 2,000 responses in one block.
    """
    columns = tuple(zip(*sorted(_row(judgment) for judgment in judgments), strict=True))
    keys = tuple(zip(*columns[:3], strict=True))
    scales, scale = _numbered(keys)
    facets, facet = _numbered(tuple(zip(columns[0], columns[1], columns[3], strict=True)))
    responses = tuple(sorted({name for column in columns[4:6] for name in column if name}))
    place = {name: number for number, name in enumerate((*responses, ""))}
    first, second = (np.array([place[name] for name in column], dtype=np.intp) for column in columns[4:6])
    comparisons = int((second < len(responses)).sum())
    return Evidence(
        responses=responses,
        facets=tuple(Facet(Group(kind, criterion), rater) for kind, criterion, rater in facets),
        scales=tuple(Scale(Group(kind, criterion), categories) for kind, criterion, categories in scales),
        groups=tuple(Group(kind, criterion) for kind, criterion in sorted({key[:2] for key in scales})),
        first=first,
        second=second,
        category=np.array(columns[6], dtype=np.intp),
        facet=facet,
        scale=scale,
        comparisons=comparisons,
        blocks=_blocks(first[:comparisons], second[:comparisons], len(responses)),
    )


def _numbered(keys: Sequence[Key]) -> tuple[list[Key], Ints]:
    """Return the different keys in order, and the number of each given one."""
    different = sorted(set(keys))
    number = {key: place for place, key in enumerate(different)}
    return different, np.array([number[key] for key in keys], dtype=np.intp)


def _row(judgment: Comparison | Rating) -> Row:
    if isinstance(judgment, Comparison):
        one, two, categories = judgment.left, judgment.right, 2 * judgment.strength + judgment.ties
        category = judgment.strength - judgment.choice - (judgment.choice < 0 and not judgment.ties)
        kind: BallotKind = "comparison"
        is_offered = judgment.ties or judgment.choice != 0
    else:
        one, two, categories = judgment.response, "", judgment.scale[1] - judgment.scale[0] + 1
        category, kind, is_offered = judgment.value - judgment.scale[0], "rating", True
    if not (is_offered and 0 <= category < categories and categories > 1):
        raise JudgmentError(
            f"rater {judgment.rater} gave a judgment outside its scale: {judgment}.", "Correct or remove that judgment."
        )
    return kind, judgment.criterion, categories, judgment.rater, one, two, category


def _blocks(left: Ints, right: Ints, responses: int) -> Blocks:
    """Return the layout of the connected components of compared responses, equal sizes side by side."""
    graph = coo_array((np.ones(left.size), (left, right)), shape=(responses, responses))
    label = connected_components(graph, directed=False)[1]
    members = np.bincount(label)
    if members.max() > MOST_IN_A_BLOCK:
        raise JudgmentError(
            f"{members.max()} responses are compared with one another, directly or through others; the fit holds "
            f"{MOST_IN_A_BLOCK} at most.",
            "Compare responses of the same prompt only.",
        )
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
