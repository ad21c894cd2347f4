"""The whole loop with the user's own functions: a ranking as the one rater, a score as the reward itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from expound import api
from expound.errors import InputError, NothingToLearn
from expound.panel.function import ResponseText
from expound.ports import RewardValue
from expound.project import Project, open_project
from expound.records import Comparison, Decision, Ranking, Score
from expound.reporting.progress import PlainProgress
from tests.support.projects import Shape, make_learning_project, make_project

UPDATES, EPISODES = 3, 8


def letters(text: str, response: str) -> float:
    """Like plain letters: a tiny model, whose words are random, can learn that."""
    return sum(one.isascii() and one.isalpha() for one in response) / max(1, len(response))


def by_letters(text: str, responses: Sequence[str]) -> list[int]:
    scores = [letters(text, response) for response in responses]
    return [1 + sum(other > score for other in scores) for score in scores]


class Calls:
    """A function that remembers what it was asked, and fails once at a call."""

    def __init__(self, fails_at: int = 0) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.fails_at = fails_at

    def __call__(self, text: str, response: str) -> float:
        if self.asked.total() + 1 == self.fails_at:
            self.fails_at = 0
            raise TimeoutError("the service sleeps")
        self.asked[text, response] += 1
        return letters(text, response)


class Rich(Calls):
    """Says beside the score what the first sign, the tokens and the words are worth."""

    def __call__(self, text: str, response: ResponseText) -> RewardValue:
        tokens = [0.01 * (token % 3) for token in response.tokens]
        spans = [(0, 1, 0.3)] if response else []
        return RewardValue(super().__call__(text, response), 0.1, tokens, spans, {"words": len(response.split())})


def project_in(folder: Path, model: Path, **changes: int | str) -> Path:
    return make_project(folder, model, Shape(**{"updates": UPDATES, "episodes": EPISODES, **changes}))


def opened(folder: Path) -> Project:
    return Project(folder, PlainProgress())


def metrics_of(folder: Path, round_: int = 1) -> list[dict[str, float]]:
    text = (folder / "rounds" / f"{round_:03d}" / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def weights_of(folder: Path) -> bytes:
    return (folder / "rounds" / "001" / "policy" / "policy.safetensors").read_bytes()


# --- a function that ranks ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranked(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project that a ranking function took through two rounds; read it, never write into it."""
    folder = project_in(tmp_path_factory.mktemp("ranked") / "project", tiny_llama_folder, panel="people", updates=1)
    decision = api.open(folder).run(ranking=by_letters, rounds=2)
    assert isinstance(decision, Decision)
    assert decision.round == 2
    return folder


def test_a_ranking_function_is_the_one_rater_of_the_whole_road(ranked: Path) -> None:
    project = opened(ranked)
    book = project.book
    assert [(rater.name, rater.source) for rater in book.raters()] == [("by_letters", "function")]
    assert {one.source for one in book.judgments()} == {"function"}
    assert {type(one) for one in book.judgments("train")} == {Ranking, Comparison}
    assert {type(one) for one in book.judgments("held_out")} == {Comparison}
    assert all(ballot.id in book.answered() for ballot in book.ballots())
    assert [skill.rater for settlement in book.settlements() for skill in settlement.skills] == [
        "function-by_letters"
    ] * 2
    assert [card.function for card in book.rewards()] == ["", ""]
    assert all("your own function preferred the new explanations" in decision.sentence for decision in book.decisions())
    assert "No person judged anything: your own function did" in (ranked / "report.html").read_text(encoding="utf-8")
    project.close()


def test_its_rankings_are_what_the_reward_learns(ranked: Path) -> None:
    """What a round's verdicts order agrees with the function, pair by pair of a prompt."""
    project = opened(ranked)
    values = {verdict.response: verdict.value for verdict in project.book.settlements()[0].verdicts}
    known = {response.id: response for response in project.book.responses("train") if response.id in values}
    pairs = [
        (values[one] - values[two], letters("", known[one].text) - letters("", known[two].text))
        for one in known
        for two in known
        if one < two and known[one].prompt == known[two].prompt
    ]
    told = [(value, truth) for value, truth in pairs if truth]
    assert sum((value > 0) == (truth > 0) for value, truth in told) > 0.95 * len(told)
    project.close()


def test_its_second_round_looks_back(ranked: Path) -> None:
    project = opened(ranked)
    rounds = {response.id: response.round for response in project.book.responses("train")}
    shown = [{rounds[one] for one in ballot.responses} for ballot in project.book.ballots("train", round_=2)]
    assert {1, 2} in shown
    project.close()


# --- a function that scores ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Calls]:
    """Give a project that a score took through a round, and what it was asked; read them, change nothing."""
    folder = project_in(tmp_path_factory.mktemp("scored") / "project", tiny_llama_folder, panel="people")
    calls = Calls()
    api.open(folder).run(feedback=calls)
    return folder, calls


def test_a_score_is_the_reward_itself(scored: tuple[Path, Calls]) -> None:
    folder, _ = scored
    project = opened(folder)
    book = project.book
    sample = book.responses("train", policy=book.policies()[0].id)
    stored = {one.response: one.value for one in book.judgments() if isinstance(one, Score)}
    texts = {response.id: response.text for response in book.responses()}
    assert stored == {response: letters("", texts[response]) for response in stored}
    assert {one.id for one in book.responses()} == set(stored)
    assert len(book.responses("train")) == len(sample) + UPDATES * EPISODES
    (card,) = book.rewards()
    worth = [stored[response.id] for response in sample]
    mean = sum(worth) / len(worth)
    assert (card.function, card.members, card.pair_accuracy, card.examples) == ("Calls", 1, 1.0, len(sample))
    assert card.mean == pytest.approx(mean)
    assert card.sd == pytest.approx((sum((one - mean) ** 2 for one in worth) / len(worth)) ** 0.5)
    assert book.settlements() == ()
    project.close()


def test_the_reward_of_each_update_is_the_mean_of_its_scores(scored: tuple[Path, Calls]) -> None:
    folder, _ = scored
    project = opened(folder)
    stored = {one.response: one.value for one in project.book.judgments("train") if isinstance(one, Score)}
    reference = project.book.policies()[0].id
    episodes = [stored[one.id] for one in project.book.responses("train") if one.policy != reference]
    means = [sum(episodes[start : start + EPISODES]) / EPISODES for start in range(0, len(episodes), EPISODES)]
    assert [line["reward"] for line in metrics_of(folder)] == pytest.approx(means, abs=1e-6)
    assert [line["doubt"] for line in metrics_of(folder)] == [0.0] * UPDATES
    project.close()


def test_held_out_pairs_are_decided_by_the_scores(scored: tuple[Path, Calls]) -> None:
    folder, _ = scored
    project = opened(folder)
    texts = {response.id: response.text for response in project.book.responses("held_out")}
    compared = [one for one in project.book.judgments("held_out") if isinstance(one, Comparison)]
    assert compared
    for one in compared:
        better = letters("", texts[one.right]) - letters("", texts[one.left])
        assert one.choice == (better > 0) - (better < 0)
    (evaluation,) = project.book.evaluations()
    assert evaluation.sources == ("function",)
    assert "your own function preferred" in project.book.decisions()[0].sentence
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Nothing was fitted: your function “Calls” is the reward." in page
    project.close()


def test_a_function_that_is_not_there_chooses_no_best(scored: tuple[Path, Calls]) -> None:
    with pytest.raises(InputError, match="the reward of round 1 is your function 'Calls', which no project holds"):
        api.explain(scored[0], "Why?", best_of=2)


@pytest.mark.parametrize("fails_at", [30, 45])
def test_an_error_of_the_function_stops_the_call_and_nothing_is_asked_twice(
    fails_at: int, scored: tuple[Path, Calls], tiny_llama_folder: Path, tmp_path: Path
) -> None:
    """The same call goes on, in an update or a held-out pair, and ends in the same bytes as without the error."""
    whole, once = scored
    folder = project_in(tmp_path / "project", tiny_llama_folder, panel="people")
    calls, handle = Calls(fails_at), api.open(folder)
    with pytest.raises(InputError, match=r"'Calls' failed on prompt '[a-z-]+' \(TimeoutError: the service sleeps\)"):
        handle.run(feedback=calls)
    assert calls.asked.total() == fails_at - 1
    assert "begun with a score function. Next: project.run(feedback=...) goes on" in handle.status()
    handle.run(feedback=calls)
    assert calls.asked == once.asked
    assert weights_of(folder) == weights_of(whole)


def test_what_passages_and_tokens_are_worth_survives_an_error_too(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """The scores that are stored bring their passages: the same bytes, and other ones than without passages."""
    ended = []
    for name, calls in (("whole", Rich()), ("killed", Rich(fails_at=30)), ("plain", Calls())):
        folder = project_in(tmp_path / name, tiny_llama_folder, panel="people")
        if calls.fails_at:
            with pytest.raises(InputError, match="the service sleeps"):
                api.open(folder).run(feedback=calls)
        api.open(folder).run(feedback=calls)
        lines = [{key: one for key, one in line.items() if "seconds" not in key} for line in metrics_of(folder)]
        ended.append((weights_of(folder), calls.asked, lines))
    assert ended[0] == ended[1]
    assert ended[0][0] != ended[2][0]
    assert all(line["part_words"] > 0 for line in ended[0][2])


def test_a_round_goes_on_as_it_began(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = project_in(tmp_path / "project", tiny_llama_folder)
    handle, calls = api.open(folder), Calls(fails_at=5)
    with pytest.raises(InputError, match="the service sleeps"):
        handle.run(feedback=calls)
    with pytest.raises(InputError, match="round 1 was begun with a score function, and goes on only with one"):
        handle.run()
    with pytest.raises(InputError, match="round 1 was begun with a score function"):
        handle.run(ranking=by_letters)
    with pytest.raises(InputError, match="was begun with a score function, which is needed now"):
        handle.settle()
    with pytest.raises(InputError, match="was begun with a score function, which is needed now"):
        handle.fit()
    handle.run(feedback=calls)
    assert isinstance(handle.run(), Decision)  # the next round is the simulated panel's again
    with open_project(folder, PlainProgress(), lock=False) as project:
        begun = {policy.round + 1: policy.id for policy in project.book.policies()}
        responses = {response.id: response for response in project.book.responses("train")}
        shown = [
            responses[one]
            for ballot in project.book.ballots("train", round_=2)
            if ballot.criteria or ballot.kind != "rating"
            for one in ballot.responses
        ]
        assert {(one.round, one.policy) for one in shown} == {(1, begun[1]), (2, begun[2])}
        assert project.settings_of(project.round(2)).panel.kinds == ("simulated",)


def test_a_round_of_others_is_not_taken_over(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = project_in(tmp_path / "project", tiny_llama_folder, panel="people")
    handle = api.open(folder)
    handle.run(wait=False)
    with pytest.raises(InputError, match="round 1 was begun without a function, and goes on only without one"):
        handle.run(feedback=letters)


def test_a_constant_score_gives_the_round_up(tiny_llama_folder: Path, tmp_path: Path) -> None:
    handle = api.open(project_in(tmp_path / "project", tiny_llama_folder))
    with pytest.raises(NothingToLearn, match=r"your function gives every response the same score \(0\.5\)"):
        handle.run(feedback=lambda text, response: 0.5)
    assert "The round was given up: your function gives every response the same score" in handle.status()


def test_what_is_no_function_is_refused(tiny_llama_folder: Path, tmp_path: Path) -> None:
    handle = api.open(project_in(tmp_path / "project", tiny_llama_folder))
    with pytest.raises(InputError, match="two functions were given"):
        handle.run(feedback=letters, ranking=by_letters)
    with pytest.raises(InputError, match=r"0\.5 is no function"):
        handle.run(feedback=0.5)
    assert opened(handle.folder).book.rounds() == ()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reward_goes_up(seed: int, tmp_path: Path) -> None:
    """What is sampled late scores higher than what the reference said, by more than a standard error."""
    folder = make_learning_project(tmp_path / "project", seed)
    api.open(folder).run(feedback=letters)
    lines = metrics_of(folder)
    late = [line["reward"] for line in lines[-4:]]
    spread = lines[0]["reward_sd"] * (1 / 32 + 1 / (4 * 32)) ** 0.5
    assert sum(late) / 4 > lines[0]["reward"] + spread
