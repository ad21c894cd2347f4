"""A function of the user's as the reward: its spread, its card and folder, and what it gives PPO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from expound.errors import ModelRefused, NothingToLearn
from expound.models.heads import spread_of
from expound.models.learner import BranchLearner
from expound.ports import RewardTask
from expound.records import Response, Round
from tests.models.test_learner import PROMPTS, SAMPLING, Notes, hashes, open_learner, task


class Counting:
    """Scores the different characters of a response (fulfils ports.Scorer) and remembers what it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: dict[str, Response] = {}

    def scores(self, responses: Sequence[Response], round_: int) -> list[float]:
        self.asked |= {response.id: response for response in responses}
        return [float(len(set(response.text))) for response in responses]


@pytest.fixture(scope="module")
def learner(tiny_llama_folder: Path) -> BranchLearner:
    return open_learner(tiny_llama_folder)


def test_the_spread_is_that_of_the_reference() -> None:
    scores = np.array([1.0, 3.0, 100.0])
    assert spread_of(scores, [True, True, False]) == (2.0, 1.0)
    assert spread_of(scores, [False, False, False]) == (scores.mean(), scores.std())


@pytest.mark.parametrize("scores", [[0.0, 0.0], [0.1 + 0.2, 0.3], [1e300, 1e300], [-5.0, -5.0]])
def test_scores_that_differ_by_rounding_alone_tell_nothing(scores: list[float]) -> None:
    with pytest.raises(NothingToLearn, match="your function gives every response the same score"):
        spread_of(np.array(scores), [True, True])


def test_a_small_scale_is_a_scale() -> None:
    mean, sd = spread_of(np.array([1e-30, 3e-30]), [True, True])
    assert (mean, sd) == (pytest.approx(2e-30), pytest.approx(1e-30))


def test_a_function_is_adopted_and_asked_for_each_episode(learner: BranchLearner, tmp_path: Path) -> None:
    scorer, reward = Counting(), tmp_path / "rounds" / "001" / "reward"
    key = Round(1, 5, "{}", "").key("sample train")
    responses = learner.reference().sample(PROMPTS, 4, SAMPLING, key)
    card = learner.adopt(scorer, responses, RewardTask(1, 5, reward))
    worth = [len(set(response.text)) for response in responses]
    assert (card.function, card.members, card.examples, card.pair_accuracy) == ("counting", 1, len(responses), 1.0)
    assert (card.mean, card.sd) == (pytest.approx(np.mean(worth)), pytest.approx(np.std(worth)))
    assert learner.adopt(scorer, responses, RewardTask(1, 5, reward)) == card
    assert sorted(path.name for path in reward.iterdir()) == ["manifest.json", "state.json"]
    with pytest.raises(ModelRefused, match="the reward of round 1 is the function 'counting', which is not given"):
        learner.tune(task(tmp_path), reward, Notes())
    learner.tune(task(tmp_path, scorer=scorer), reward, Notes())
    episodes = [one for one in scorer.asked.values() if one not in responses]
    assert len(episodes) == 3 * 8
    assert {one.prompt for one in episodes} == {prompt.id for prompt in PROMPTS}
    assert all(one.id == Response.make_id(one.prompt, one.policy, 1, one.sample, one.text) for one in episodes)
    # Each update samples from another policy.
    assert len({one.policy for one in episodes}) == 3
    assert all(one.tokens and one.text == one.text.strip() for one in episodes)


def test_a_kill_asks_for_the_same_responses_again(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """An update that is done again is of the same responses, so that stored scores are found by their ids."""
    asked, folders = [], (tmp_path / "whole", tmp_path / "killed")
    for folder, stops in zip(folders, (None, 1), strict=True):
        learner, scorer, reward = open_learner(tiny_llama_folder), Counting(), folder / "rounds" / "001" / "reward"
        responses = learner.reference().sample(PROMPTS, 4, SAMPLING, Round(1, 5, "{}", "").key("sample train"))
        learner.adopt(scorer, responses, RewardTask(1, 5, reward))
        if stops is not None:
            with pytest.raises(KeyboardInterrupt):
                learner.tune(task(folder, scorer=scorer), reward, Notes(interrupt_after=stops))
            learner = open_learner(tiny_llama_folder)
        learner.tune(task(folder, scorer=scorer), reward, Notes())
        asked.append(scorer.asked)
    assert asked[0] == asked[1]
    assert hashes(task(folders[0]).folder) == hashes(task(folders[1]).folder)
