"""Checks: which category each response is of, and how each rater confuses the categories.

A rater who meets a response of category t says o with chance P[t, o]; what responses are and how raters confuse is
learnt in turns (Dawid and Skene 1979). Few raters say enough for a table of their own, so that its rows are drawn to
those of the whole panel, each category as strongly as the raters prove to be alike in it. The posterior takes the votes
on a response as independent; they are not, so that it is too sure, and is tempered as far as left-out votes ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array
from scipy.special import gammaln

from expound.errors import DidNotConverge, JudgmentError
from expound.feedback.evidence import Floats, Ints, totals
from expound.records import Check, CheckVerdict

MOST_ITERATIONS, TOLERANCE = 500, 1e-6
START_WEIGHT = 0.5  # votes that a response is imagined to have, spread over all categories
SHARE_WEIGHT = 10  # responses imagined beside the real ones, spread over all categories
PANEL_WEIGHT = 20  # votes a category imagined beside the panel's own, of raters who are right as often as it is
RIGHT, WRONG = 1.4, 0.6  # votes imagined beside those that tell how often the panel is right
STRENGTHS = np.geomspace(0.3, 300, 36)  # votes that the panel's row counts for in a rater's
USUAL_STRENGTH = 5.0  # with a log-normal prior of width 1
STRENGTH_EVERY, LAST_STRENGTH = 3, 60  # iterations: then it stands still, or the fit would not
POWERS = np.linspace(1, 0.05, 20)  # that the posterior may be raised to, the first of the best
ENOUGH_KNOWN = 20  # responses of a known category that choose the power; below, left-out votes do
LEAST_LIKELY = 1e-12  # so that to be certain and wrong has a price that sums up
LEAST_CHANCE = 1e-9  # that votes disagree by chance, below which agreement tells nothing


@dataclass(frozen=True)
class Votes:
    """Checks of one criterion as arrays, in an order that does not depend on the order in which they came.

    `item` is the response, `label` the category said; `known` [responses] is the known category, or -1.
    """

    criterion: str
    responses: tuple[str, ...]
    raters: tuple[str, ...]
    labels: tuple[str, ...]
    item: Ints
    rater: Ints
    label: Ints
    known: Ints

    def counts(self) -> Floats:
        """Return [responses, labels] how often each was said."""
        shape = len(self.responses), len(self.labels)
        return totals(self.item * shape[1] + self.label, np.ones(self.item.size), shape[0] * shape[1]).reshape(shape)

    def said(self) -> csr_array:
        """Return [raters · labels, responses] who said what of which response."""
        shape = len(self.raters) * len(self.labels), len(self.responses)
        return csr_array((np.ones(self.item.size), (self.rater * len(self.labels) + self.label, self.item)), shape)


@dataclass(frozen=True)
class Confusions:
    """What the responses are, and how raters confuse.

    `posterior` [responses, labels]; `shares` [labels] of all responses; `panel` [labels, labels] and `tables`
    [raters, labels, labels] the chances of saying the last for one that is the first; `votes` [raters, labels] what
    each row rests on, the panel's part included.
    """

    posterior: Floats
    shares: Floats
    panel: Floats
    tables: Floats
    votes: Floats
    iterations: int


def collect_votes(checks: Sequence[Check]) -> Votes:
    """Return the checks of one criterion as arrays.

    Errors: JudgmentError for a known value that is no category, or two known values of one response.
    """
    rows = sorted((check.response, check.rater, check.value) for check in checks)
    known = _known(checks)
    responses, raters = (tuple(sorted({row[place] for row in rows})) for place in (0, 1))
    labels = tuple(sorted({row[2] for row in rows} | set(known.values())))
    places = [{name: place for place, name in enumerate(names)} for names in (responses, raters, labels)]
    item, rater, label = (
        np.array([place[row[column]] for row in rows], dtype=np.intp) for column, place in enumerate(places)
    )
    clamped = [places[2][known[name]] if name in known else -1 for name in responses]
    return Votes(checks[0].criterion, responses, raters, labels, item, rater, label, np.array(clamped, dtype=np.intp))


def _known(checks: Sequence[Check]) -> dict[str, str]:
    known: dict[str, str] = {}
    for check in checks:
        if check.gold is None:
            continue
        if not isinstance(check.gold, str) or known.setdefault(check.response, check.gold) != check.gold:
            raise JudgmentError(
                f"the known value {check.gold!r} of response {check.response} is no category, or not its only one.",
                "Correct or remove its key 'gold'.",
            )
    return known


# --- the fit ------------------------------------------------------------------------------------------------------


def fit_confusions(votes: Votes, *, strength: float | None = None, iterations: int = MOST_ITERATIONS) -> Confusions:
    """Return categories and confusions; a given strength is not learnt, and near 0 it is plain Dawid-Skene.

    Errors: DidNotConverge when a posterior chance still moves by more than 1e-6.
    """
    said = votes.said()
    posterior = _start(votes)
    strengths = np.full(len(votes.labels), USUAL_STRENGTH if strength is None else strength)
    change = np.inf
    for iteration in range(1, iterations + 1):
        before, shares, counts = posterior, _shares(posterior), _counts(votes, said, posterior)
        panel = _panel(counts)
        if strength is None and iteration % STRENGTH_EVERY == 0 and iteration <= LAST_STRENGTH:
            strengths = _strengths(counts, panel)
        tables = _tables(counts, panel, strengths)
        posterior = _posterior(votes, said, shares, tables)
        change = float(np.abs(posterior - before).max())
        if change < TOLERANCE:
            return Confusions(posterior, shares, panel, tables, counts.sum(axis=2) + strengths, iteration)
    raise DidNotConverge(
        f"the checks of '{votes.criterion}' still moved by {change:.1e} after {iterations} iterations (tolerance "
        f"{TOLERANCE:.0e}).",
        "Have more responses checked by several raters; all checks so far still count.",
    )


def _start(votes: Votes) -> Floats:
    counts = votes.counts()
    labels = counts.shape[1]
    return _clamped(votes, (counts + START_WEIGHT / labels) / (counts.sum(axis=1, keepdims=True) + START_WEIGHT))


def _clamped(votes: Votes, posterior: Floats) -> Floats:
    """Return the posterior with certainty where the category is known."""
    return np.where(votes.known[:, None] >= 0, np.eye(posterior.shape[1])[votes.known], posterior)


def _shares(posterior: Floats) -> Floats:
    items, labels = posterior.shape
    return np.asarray((posterior.sum(axis=0) + SHARE_WEIGHT / labels) / (items + SHARE_WEIGHT))


def _counts(votes: Votes, said: csr_array, posterior: Floats) -> Floats:
    """Return [raters, labels, labels] how often a rater said the last of what is likely the first."""
    labels = len(votes.labels)
    return np.asarray(said @ posterior).reshape(-1, labels, labels).transpose(0, 2, 1)


def _panel(counts: Floats) -> Floats:
    """Return [labels, labels] the confusions of all raters together."""
    labels, total = counts.shape[1], counts.sum(axis=0)
    right = (total.trace() + RIGHT) / (total.sum() + RIGHT + WRONG)
    alike = np.full((labels, labels), (1 - right) / max(labels - 1, 1))
    np.fill_diagonal(alike, right)
    weighed = total + PANEL_WEIGHT * alike
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def _tables(counts: Floats, panel: Floats, strengths: Floats) -> Floats:
    """Return [raters, labels, labels] each rater's confusions, drawn to the panel's."""
    drawn = strengths[:, None]
    return np.asarray((counts + drawn * panel) / (counts.sum(axis=2, keepdims=True) + drawn))


def _strengths(counts: Floats, panel: Floats) -> Floats:
    """Return [labels] how alike raters are in each category: the likeliest Dirichlet-multinomial strength."""
    prior = -((np.log(STRENGTHS) - np.log(USUAL_STRENGTH)) ** 2) / 2
    best = [
        int(np.argmax(prior + [_alike(counts[:, true], row, strength) for strength in STRENGTHS]))
        for true, row in enumerate(panel)
    ]
    return np.asarray(STRENGTHS[best])


def _alike(counts: Floats, row: Floats, strength: float) -> float:
    """Return the log likelihood of counts [raters, labels] whose chances scatter around `row` with a strength."""
    drawn = strength * row
    rows = gammaln(strength) - gammaln(counts.sum(axis=1) + strength)
    return float(rows.sum() + (gammaln(counts + drawn) - gammaln(drawn)).sum())


def _posterior(votes: Votes, said: csr_array, shares: Floats, tables: Floats) -> Floats:
    labels = len(votes.labels)
    likely = np.log(shares) + said.T @ np.log(tables).transpose(0, 2, 1).reshape(-1, labels)
    chance = np.exp(likely - likely.max(axis=1, keepdims=True))
    return _clamped(votes, chance / chance.sum(axis=1, keepdims=True))


# --- how sure it may be -------------------------------------------------------------------------------------------


def tempered(votes: Votes, found: Confusions) -> Floats:
    """Return [responses, labels] the posterior to the power, at most 1, with which it tells best what it did not see.

    That is the known categories where there are 20, or else each vote on a response that has others.
    Errors: DidNotConverge.
    """
    known = votes.known >= 0
    if known.sum() >= ENOUGH_KNOWN:
        unseen = replace(votes, known=np.full_like(votes.known, -1))
        chances, likely = fit_confusions(unseen).posterior[known], np.eye(len(votes.labels))[votes.known[known]]
    else:
        chances, likely = _left_out(votes, found)
    told = [float(np.log((_raised(chances, power) * likely).sum(axis=1) + LEAST_LIKELY).sum()) for power in POWERS]
    return _clamped(votes, _raised(found.posterior, POWERS[int(np.argmax(told))]))


def _raised(chances: Floats, power: float) -> Floats:
    raised = chances**power
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _left_out(votes: Votes, found: Confusions) -> tuple[Floats, Floats]:
    """Return [votes, labels] the chances of each vote's response without it, and how likely each makes the vote.

    The vote is taken out of its response and of its rater's row, not out of the panel's. Lone votes are no part of it.
    """
    several = votes.counts().sum(axis=1)[votes.item] > 1
    item, rater, label = votes.item[several], votes.rater[several], votes.label[several]
    own, said, rows = found.posterior[item], found.tables[rater, :, label], found.votes[rater]
    others = own / said
    return others / others.sum(axis=1, keepdims=True), (said * rows - own) / (rows - own)


# --- what it says -------------------------------------------------------------------------------------------------


def kappas(found: Confusions) -> tuple[Floats, Floats]:
    """Return Cohen's kappa of each rater with the truth, and its standard error by the delta method.

    Where all responses are of one category agreement is chance, and nothing is known: 0 with an error of 1.
    """
    shares, tables = found.shares, found.tables
    right = np.einsum("t,rtt->r", shares, tables)
    expected = np.einsum("t,rto,o->r", shares, tables, shares)
    room = 1 - expected
    tells = room > LEAST_CHANCE
    room = np.where(tells, room, 1.0)
    slope = np.eye(shares.size) / room[:, None, None] - shares * ((1 - right) / room**2)[:, None, None]
    slope = shares[:, None] * slope
    spread = np.einsum("rto,rto->rt", slope**2, tables) - np.einsum("rto,rto->rt", slope, tables) ** 2
    error = np.sqrt((np.maximum(spread, 0) / (found.votes + 1)).sum(axis=1))
    return np.where(tells, (right - expected) / room, 0.0), np.where(tells, error, 1.0)


def label_verdicts(votes: Votes, chances: Floats) -> tuple[CheckVerdict, ...]:
    """Return the chance of every category of every response, the likeliest of a response first."""
    order = np.argsort(-chances, axis=1, kind="stable")
    sorted_chances = np.take_along_axis(chances, order, axis=1).tolist()
    return tuple(
        CheckVerdict(response, votes.criterion, votes.labels[label], p)
        for response, labels, row in zip(votes.responses, order.tolist(), sorted_chances, strict=True)
        for label, p in zip(labels, row, strict=True)
    )
