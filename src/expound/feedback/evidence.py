"""Judgments as arrays: who said which category of which response or pair, and which responses hang together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from expound.errors import JudgmentError
from expound.records import AnyVerdict, BallotKind, Comparison, Json, Judgment, Ranking, Rating

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Graded = Comparison | Ranking | Rating
Row = tuple[BallotKind, str, int, str, bool, str, str, int, int]  # the last: how many responses the judgment orders
Key = TypeVar("Key", bound=tuple[str | int, ...])
Judged = TypeVar("Judged", bound=Judgment | AnyVerdict)

MOST_IN_A_BLOCK = 2000
GOLD = "gold"
GOLD_DISCRIMINATION = 6.0  # what is known orders a typical pair right in 93 of 100 cases: evidence, not proof


@dataclass(frozen=True, order=True)
class Group:
    """Judgments of one kind about one criterion: their facets share a prior."""

    kind: BallotKind
    criterion: str


@dataclass(frozen=True, order=True)
class Facet:
    """One rater in one kind of judgment about one criterion; what is known (gold) speaks as a rater of its own."""

    group: Group
    rater: str
    is_gold: bool = False


@dataclass(frozen=True, order=True)
class Scale:
    """The categories that judgments of a group could choose from; the cuts of pairs mirror each other about 0."""

    group: Group
    categories: int

    @property
    def is_mirrored(self) -> bool:
        """Return whether the scale is about two responses, of which either could have stood first."""
        return self.group.kind != "rating"


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
    [pairs] are the places of (left, right) and (right, left).
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

    Pairs come first: a comparison is one, a ranking of k responses is its k(k − 1)/2. `first` is the left or the rated
    response; `second` the right one, of a rating the number of responses, where quality is 0. A high `category`
    prefers the left, or rates high. `weight` is √(2/k) for the pairs of a ranking, which repeat one another, and 1
    otherwise; `ordered` is k, 2 otherwise. `start` [facets] is the discrimination to begin a fit with.
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
    weight: Floats
    ordered: Ints
    start: Floats
    pairs: int
    blocks: Blocks

    @cached_property
    def group_of_facet(self) -> Ints:
        return np.array([self.groups.index(facet.group) for facet in self.facets], dtype=np.intp)

    @cached_property
    def group_of_scale(self) -> Ints:
        return np.array([self.groups.index(scale.group) for scale in self.scales], dtype=np.intp)

    @cached_property
    def is_gold(self) -> Bools:
        """Return which facets are what is known; their ways are fixed."""
        return np.array([facet.is_gold for facet in self.facets])

    @cached_property
    def has_sides(self) -> Bools:
        """Return which facets can lean to a side or an end; a ranking has none."""
        return np.array([facet.group.kind != "ranking" for facet in self.facets])

    @cached_property
    def raters_in(self) -> Floats:
        """Return how many raters have a facet in each group."""
        return self.per_group(np.ones(len(self.facets)))

    @cached_property
    def raters_weight(self) -> Floats:
        """Return the weights, 0 for what is known: the cuts are those of the raters."""
        return np.where(self.is_gold[self.facet], 0.0, self.weight)

    @cached_property
    def told(self) -> Ints:
        """Return how many judgments each facet holds; a ranking is one."""
        share = 2 / (self.ordered * (self.ordered - 1))
        return np.rint(totals(self.facet, share, len(self.facets))).astype(np.intp)

    @cached_property
    def judged(self) -> Ints:
        """Return how many judgments of raters speak of each response; a ranking is one."""
        count = len(self.responses)
        share = np.where(self.is_gold[self.facet], 0.0, 1 / (self.ordered - 1))
        both = totals(self.first, share, count) + totals(self.second, share, count + 1)[:count]
        return np.rint(both).astype(np.intp)

    def per_group(self, values: Floats) -> Floats:
        """Return the sums of values [facets] over the raters' facets of each group; gold is none of theirs."""
        return totals(self.group_of_facet, np.where(self.is_gold, 0.0, values), len(self.groups))


def totals(places: Ints, values: Floats, count: int) -> Floats:
    """Return [count] the sums of the values that belong to each place."""
    return np.bincount(places, values, count).astype(np.float64, copy=False)


def by_criterion(judgments: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Return the judgments of each criterion, criteria in order."""
    found: defaultdict[str, list[Judged]] = defaultdict(list)
    for judgment in judgments:
        found[judgment.criterion].append(judgment)
    return dict(sorted(found.items()))


def collect(judgments: Sequence[Graded]) -> Evidence:
    """Return the judgments, and what is known of their ballots, as arrays.

    Errors: JudgmentError for a category that its scale does not have, a ranking or a known value that is none, or more
    than 2,000 responses in one block.
    """
    gold = {_turned(row) for judgment in judgments if judgment.gold is not None for row in _known_rows(judgment)}
    rows = sorted([*(row for judgment in judgments for row in _rows(judgment)), *gold])
    columns = tuple(zip(*rows, strict=True))
    scales, scale = _numbered(tuple(zip(*columns[:3], strict=True)))
    facets, facet = _numbered(tuple(zip(columns[0], columns[1], *columns[3:5], strict=True)))
    named = tuple(Facet(Group(kind, criterion), rater, is_gold) for kind, criterion, rater, is_gold in facets)
    responses = tuple(sorted({name for column in columns[5:7] for name in column if name}))
    place = {name: number for number, name in enumerate((*responses, ""))}
    first, second = (np.array([place[name] for name in column], dtype=np.intp) for column in columns[5:7])
    pairs = int((second < len(responses)).sum())
    ordered = np.array(columns[8], dtype=np.intp)
    return Evidence(
        responses=responses,
        facets=named,
        scales=tuple(Scale(Group(kind, criterion), categories) for kind, criterion, categories in scales),
        groups=tuple(sorted({found.group for found in named})),
        first=first,
        second=second,
        category=np.array(columns[7], dtype=np.intp),
        facet=facet,
        scale=scale,
        weight=np.sqrt(2 / ordered),
        ordered=ordered,
        start=_start(named, judgments),
        pairs=pairs,
        blocks=_blocks(first[:pairs], second[:pairs], len(responses)),
    )


def _numbered(keys: Sequence[Key]) -> tuple[list[Key], Ints]:
    """Return the different keys in order, and the number of each given one."""
    different = sorted(set(keys))
    number = {key: place for place, key in enumerate(different)}
    return different, np.array([number[key] for key in keys], dtype=np.intp)


# --- one judgment -------------------------------------------------------------------------------------------------


def _rows(judgment: Graded, *, is_gold: bool = False) -> Iterator[Row]:
    if isinstance(judgment, Ranking):
        yield from _ranking_rows(judgment, is_gold=is_gold)
        return
    if isinstance(judgment, Comparison):
        one, two, categories = judgment.left, judgment.right, 2 * judgment.strength + judgment.ties
        category = judgment.strength - judgment.choice - (judgment.choice < 0 and not judgment.ties)
        # Without sides there is nothing to lean to: a ranking of two.
        kind: BallotKind = "comparison" if judgment.has_sides else "ranking"
        is_offered = judgment.ties or judgment.choice != 0
    else:
        one, two, categories = judgment.response, "", judgment.scale[1] - judgment.scale[0] + 1
        category, kind, is_offered = judgment.value - judgment.scale[0], "rating", True
    if not (is_offered and 0 <= category < categories and categories > 1):
        raise JudgmentError(
            f"rater {judgment.rater} gave a judgment outside its scale: {judgment}.", "Correct or remove that judgment."
        )
    yield kind, judgment.criterion, categories, judgment.rater, is_gold, one, two, category, 2


def _ranking_rows(ranking: Ranking, *, is_gold: bool) -> Iterator[Row]:
    """Yield a row for each pair, its smaller id first; those of a tier are tied."""
    tier_of = sorted((name, place) for place, tier in enumerate(ranking.tiers) for name in tier)
    ordered = len({name for name, _ in tier_of})
    if ordered < max(len(tier_of), 2):
        raise JudgmentError(
            f"rater {ranking.rater} ranked fewer than two responses, or one of them twice: {ranking}.",
            "Correct or remove that judgment.",
        )
    for (one, tier), (two, other) in combinations(tier_of, 2):
        category = 1 + (tier < other) - (tier > other)
        yield "ranking", ranking.criterion, 3, ranking.rater, is_gold, one, two, category, ordered


# --- what is known ------------------------------------------------------------------------------------------------


def _known_rows(judgment: Graded) -> Iterator[Row]:
    """Yield the rows that a rater who knows would have given to this ballot."""
    gold = judgment.gold
    if isinstance(judgment, Ranking):
        knowing: Graded = replace(judgment, rater=GOLD, tiers=_tiers(gold))
    elif not isinstance(gold, int) or isinstance(gold, bool):
        raise JudgmentError(
            f"the known value {gold!r} of a judgment of rater {judgment.rater} is no whole number.",
            "Correct or remove its key 'gold'.",
        )
    elif isinstance(judgment, Comparison):
        knowing = replace(judgment, rater=GOLD, choice=gold)
    else:
        knowing = replace(judgment, rater=GOLD, value=gold)
    yield from _rows(knowing, is_gold=True)


def _tiers(gold: Json) -> tuple[tuple[str, ...], ...]:
    tiers = gold if isinstance(gold, list | tuple) else ()
    return tuple(tuple(map(str, tier)) if isinstance(tier, list | tuple) else (str(tier),) for tier in tiers)


def _turned(row: Row) -> Row:
    """Return the row with the smaller id first, so that what is known of a pair is known once."""
    kind, criterion, categories, rater, is_gold, one, two, category, ordered = row
    if two and two < one:
        one, two, category = two, one, categories - 1 - category
    return kind, criterion, categories, rater, is_gold, one, two, category, ordered


def _start(facets: Sequence[Facet], judgments: Sequence[Graded]) -> Floats:
    """Return where the discriminations begin: at 1 or, where something is known, at each rater's agreement with it.

    2·(right − wrong)/(n + 2) for n judgments. From 1, a panel whose majority is inverted ends in the wrong optimum,
    gold or not.
    """
    found = agreements(judgments)
    usual = 0.0 if found else 1.0
    return np.array([GOLD_DISCRIMINATION if one.is_gold else found.get(one.rater, usual) for one in facets])


def agreements(judgments: Sequence[Graded]) -> dict[str, float]:
    """Return how far each rater is with what is known: on its side of the scale's middle or on the other."""
    score: defaultdict[str, float] = defaultdict(float)
    total: defaultdict[str, float] = defaultdict(float)
    for judgment in judgments:
        if judgment.gold is None:
            continue
        known = {(one, two): category for *_, one, two, category, _ in _known_rows(judgment)}
        for _, _, categories, rater, _, one, two, category, ordered in _rows(judgment):
            if (one, two) in known:
                sides = (2 * category - categories + 1) * (2 * known[one, two] - categories + 1)
                score[rater] += float(np.sign(sides)) * (2 / ordered) ** 0.5
                total[rater] += (2 / ordered) ** 0.5
    return {rater: 2 * score[rater] / (total[rater] + 2) for rater in total}


# --- what hangs together ------------------------------------------------------------------------------------------


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
