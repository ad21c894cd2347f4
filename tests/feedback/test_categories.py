"""Checks: what responses are, and how raters confuse the categories."""

from __future__ import annotations

import numpy as np
import pytest

from expound.errors import DidNotConverge, JudgmentError
from expound.feedback.categories import (
    Confusions,
    Votes,
    collect_votes,
    fit_confusions,
    kappas,
    label_verdicts,
    tempered,
)
from expound.feedback.evidence import Floats
from expound.records import Check, Json
from tests.support.raters import calibration_error

LABELS = ("no", "partly", "yes")


def check(rater: str, response: str, value: str, gold: Json = None) -> Check:
    return Check(rater=rater, response=response, value=value, criterion="faithful", gold=gold)


def crowd(tables: Floats, responses: int, votes: int, seed: int) -> tuple[list[Check], dict[str, str]]:
    """Return checks by raters with known confusions [raters, labels, labels], and what the responses are."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(tables.shape[1], size=responses)
    said = [
        check(f"r{rater:02d}", f"a{place:03d}", LABELS[generator.choice(tables.shape[1], p=tables[rater, true])])
        for place, true in enumerate(truth)
        for rater in generator.choice(len(tables), votes, replace=False)
    ]
    return said, {f"a{place:03d}": LABELS[true] for place, true in enumerate(truth)}


def right(stay: float) -> Floats:
    return np.eye(3) * stay + (1 - stay) / 3


def accuracy(checks: list[Check], truth: dict[str, str]) -> tuple[float, float]:
    votes = collect_votes(checks)
    answers = (votes.counts(), fit_confusions(votes).posterior)
    found = [[votes.labels[place] for place in chances.argmax(axis=1)] for chances in answers]
    majority, fitted = (
        float(np.mean([truth[name] == label for name, label in zip(votes.responses, labels, strict=True)]))
        for labels in found
    )
    return majority, fitted


def test_raters_who_swap_two_categories_are_read_right() -> None:
    swapping = 0.9 * np.eye(3)[[0, 2, 1]] + 0.1 / 3
    said, truth = crowd(np.stack([right(0.8)] * 4 + [swapping] * 3), responses=300, votes=5, seed=0)
    majority, fitted = accuracy(said, truth)
    assert fitted > majority + 0.1
    assert fitted > 0.95


def test_equal_raters_lose_nothing() -> None:
    losses = []
    for seed in range(5):
        said, truth = crowd(np.stack([right(0.6)] * 20), responses=300, votes=5, seed=seed)
        majority, fitted = accuracy(said, truth)
        losses.append(majority - fitted)
    assert np.mean(losses) <= 0.005


def test_a_known_category_is_certain_and_tells_who_is_right() -> None:
    said = [check(rater, f"a{place}", "yes" if rater == "good" else "no") for place in range(40) for rater in RATERS]
    taught = [check(one.rater, one.response, one.value, "yes") if one.response < "a2" else one for one in said]
    votes = collect_votes(taught)
    chances = dict(zip(votes.responses, fit_confusions(votes).posterior[:, votes.labels.index("yes")], strict=True))
    assert chances["a1"] == 1
    assert chances["a9"] > 0.9, "though two of three say no"


RATERS = ("good", "bad", "worse")


def test_a_known_category_that_nobody_said_is_a_category() -> None:
    votes = collect_votes([check("r", "a", "yes", "partly"), check("r", "b", "no")])
    assert votes.labels == ("no", "partly", "yes")
    assert fit_confusions(votes).posterior[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("gold", [3, ["yes"], "no"])
def test_a_known_value_must_be_one_category(gold: Json) -> None:
    with pytest.raises(JudgmentError, match="of response a is no category, or not its only one"):
        collect_votes([check("r", "a", "yes", "yes"), check("s", "a", "yes", gold)])


def test_a_fit_that_has_not_ended_raises() -> None:
    said, _ = crowd(np.stack([right(0.7)] * 5), responses=30, votes=3, seed=1)
    with pytest.raises(DidNotConverge, match=r"the checks of 'faithful' still moved by .* after 2 iterations"):
        fit_confusions(collect_votes(said), iterations=2)


def test_one_category_settles_and_tells_nothing_of_raters() -> None:
    found = fit_confusions(collect_votes([check("r", "a", "yes"), check("s", "a", "yes")]))
    assert found.posterior.tolist() == [[1]]
    skill, error = kappas(found)
    assert skill.tolist() == [0, 0]
    assert error.tolist() == [1, 1]


def test_raters_who_are_alike_are_drawn_together_and_unlike_ones_apart() -> None:
    unlike = np.stack([right(stay) for stay in (0.95, 0.9, 0.85, 0.2, 0.1)])
    alike = np.stack([right(0.7)] * 5)
    spreads = []
    for tables in (alike, unlike):
        said, _ = crowd(tables, responses=200, votes=5, seed=2)
        found = fit_confusions(collect_votes(said))
        spreads.append(np.einsum("rtt->r", found.tables).std() / 3)
    assert spreads[0] < 0.05
    assert spreads[1] > 0.2


def test_tables_of_few_votes_are_the_panels() -> None:
    said, _ = crowd(np.stack([right(0.8)] * 6), responses=100, votes=4, seed=3)
    found = fit_confusions(collect_votes([*said, check("rare", "a000", "no")]), strength=50)
    assert found.tables[-1] == pytest.approx(found.panel, abs=0.02)
    assert found.tables.sum(axis=2) == pytest.approx(np.ones((7, 3)))


# --- how sure it may be -------------------------------------------------------------------------------------------


def half_hard(responses: int, seed: int) -> tuple[list[Check], dict[str, str]]:
    """Return checks by raters who are right in nine of ten, but in half of the responses as often take a decoy."""
    generator = np.random.default_rng(seed)
    truth, decoys = generator.integers(3, size=(2, responses))
    chances = [
        right(0.85)[true] if place % 2 else np.eye(3)[true] / 2 + np.eye(3)[decoy] / 2
        for place, (true, decoy) in enumerate(zip(truth, decoys, strict=True))
    ]
    said = [
        check(f"r{rater}", f"a{place:03d}", LABELS[generator.choice(3, p=row)])
        for place, row in enumerate(chances)
        for rater in generator.choice(10, 6, replace=False)
    ]
    return said, {f"a{place:03d}": LABELS[true] for place, true in enumerate(truth)}


def gap(votes: Votes, chances: Floats, truth: dict[str, str]) -> float:
    """Return the calibration error of the likeliest categories of the responses that were not known."""
    unknown = votes.known < 0
    is_right = np.array(
        [
            truth[name] == votes.labels[place]
            for name, place in zip(votes.responses, chances.argmax(axis=1), strict=True)
        ]
    )
    return calibration_error(chances.max(axis=1)[unknown], is_right[unknown])


def test_votes_that_err_together_make_less_sure() -> None:
    for seed in range(3):
        said, truth = half_hard(400, seed)
        votes = collect_votes(said)
        found = fit_confusions(votes)
        chances = tempered(votes, found)
        assert gap(votes, chances, truth) < 0.8 * gap(votes, found.posterior, truth)
        assert chances.sum(axis=1) == pytest.approx(np.ones(400))
        assert (chances.argmax(axis=1) == found.posterior.argmax(axis=1)).all()


def test_known_categories_tell_best_how_sure_to_be() -> None:
    for seed in range(3):
        said, truth = half_hard(400, seed)
        taught = [
            check(one.rater, one.response, one.value, truth[one.response]) if one.response < "a040" else one
            for one in said
        ]
        votes = collect_votes(taught)
        chances = tempered(votes, fit_confusions(votes))
        assert (chances[:40].max(axis=1) == 1).all()
        assert gap(votes, chances, truth) < 0.09


def test_independent_votes_stay_as_sure_as_they_are() -> None:
    for seed in range(5):
        said, truth = crowd(np.stack([right(0.7)] * 20), responses=300, votes=5, seed=seed)
        votes = collect_votes(said)
        found = fit_confusions(votes)
        assert tempered(votes, found) == pytest.approx(found.posterior, abs=0.05)
        assert gap(votes, tempered(votes, found), truth) < 0.05


def test_lone_votes_choose_nothing() -> None:
    votes = collect_votes([check(f"r{place % 3}", f"a{place}", LABELS[place % 2]) for place in range(12)])
    found = fit_confusions(votes)
    assert tempered(votes, found).tolist() == found.posterior.tolist()


# --- skill --------------------------------------------------------------------------------------------------------


def known(shares: Floats, tables: Floats, votes: float = 20) -> Confusions:
    return Confusions(np.ones((1, 3)) / 3, shares, tables[0], tables, np.full(tables.shape[:2], votes), 1)


SHARES = np.array([0.5, 0.3, 0.2])


def test_kappa_is_one_for_the_knowing_and_zero_for_the_guessing() -> None:
    guessing = np.tile([0.6, 0.3, 0.1], (3, 1))
    skill, _ = kappas(known(SHARES, np.stack([np.eye(3), guessing])))
    assert skill == pytest.approx([1, 0], abs=1e-12)


def test_kappa_is_cohens_of_the_expected_table() -> None:
    table = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]])
    joint = SHARES[:, None] * table
    chance = joint.sum(axis=1) @ joint.sum(axis=0)
    assert kappas(known(SHARES, table[None]))[0] == pytest.approx((joint.trace() - chance) / (1 - chance))


def test_the_error_of_kappa_is_that_of_drawn_tables() -> None:
    table = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]])
    generator = np.random.default_rng(0)
    drawn = np.stack([generator.dirichlet(40 * row, size=4000) for row in table], axis=1)
    scattered = kappas(known(SHARES, drawn))[0].std()
    assert kappas(known(SHARES, table[None], votes=40))[1][0] == pytest.approx(scattered, rel=0.05)


def test_the_likeliest_category_comes_first() -> None:
    votes = collect_votes([check("r", "a", "yes"), check("r", "b", "no")])
    verdicts = label_verdicts(votes, np.array([[0.2, 0.8], [0.5, 0.5]]))
    assert [(one.response, one.criterion, one.label, one.p) for one in verdicts] == [
        ("a", "faithful", "yes", 0.8),
        ("a", "faithful", "no", 0.2),
        ("b", "faithful", "no", 0.5),
        ("b", "faithful", "yes", 0.5),
    ]
