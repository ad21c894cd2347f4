"""A function of the user's as the reward: its spread, its card and folder, and what it gives PPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from expound.errors import ModelRefused, NothingToLearn
from expound.models.heads import FunctionReward, spread_of, token_worths
from expound.models.learner import BranchLearner
from expound.models.loading import load
from expound.models.policy import reached, text_of
from expound.ports import RewardTask, RewardValue
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.rollout import Normaliser, normalise, reward_tensor
from expound.records import Response, Round
from tests.laws.test_update import begun
from tests.models.test_learner import PROMPTS, SAMPLING, Notes, hashes, open_learner, task


def valued(scores: Sequence[float]) -> list[RewardValue]:
    return [RewardValue(score) for score in scores]


class Counting:
    """Scores the different characters of a response (fulfils ports.Scorer) and remembers what it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: dict[str, Response] = {}

    def values(self, responses: Sequence[Response], round_: int) -> list[RewardValue]:
        self.asked |= {response.id: response for response in responses}
        return [RewardValue(float(len(set(response.text)))) for response in responses]


@pytest.fixture(scope="module")
def learner(tiny_llama_folder: Path) -> BranchLearner:
    return open_learner(tiny_llama_folder)


def test_the_spread_is_that_of_the_reference() -> None:
    scores = [1.0, 3.0, 100.0]
    assert spread_of(valued(scores), [True, True, False]) == (2.0, 1.0)
    assert spread_of(valued(scores), [False, False, False]) == pytest.approx((np.mean(scores), np.std(scores)))


def test_tokens_and_spans_count_in_the_spread_and_not_in_the_mean() -> None:
    """By hand: totals 2, 6 and 4; a function that gives passages alone tells responses apart as well."""
    values = [RewardValue(1.0, tokens=(0.5, 0.5)), RewardValue(1.0, spans=((0, 1, 5.0),)), RewardValue(4.0)]
    assert spread_of(values, [True, True, True]) == pytest.approx((2.0, np.std([2.0, 6.0, 4.0])))


@pytest.mark.parametrize("scores", [[0.0, 0.0], [0.1 + 0.2, 0.3], [1e300, 1e300], [-5.0, -5.0]])
def test_scores_that_differ_by_rounding_alone_tell_nothing(scores: list[float]) -> None:
    with pytest.raises(NothingToLearn, match="your function gives every response the same score"):
        spread_of(valued(scores), [True, True])


def test_a_small_scale_is_a_scale() -> None:
    mean, sd = spread_of(valued([1e-30, 3e-30]), [True, True])
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


# --- rewards of tokens and of passages ----------------------------------------------------------------------------


MIXED = ["  Naïve: 河水 rises 🌊!  ", "The pump ran dry.", "上涨", "", "🌊 \n"]


@pytest.mark.parametrize("text", MIXED)
def test_a_passage_ends_where_the_tokenizer_says(tiny_llama_folder: Path, text: str) -> None:
    """Against the offsets that the tokenizer gives for text: the last token that holds a part of the character."""
    loaded = load(str(tiny_llama_folder))
    encoded = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens = [*encoded["input_ids"], loaded.end_tokens[0]]
    said, before = text_of(loaded, tokens), len(text) - len(text.lstrip())
    ends = reached(loaded, tokens)
    assert len(ends) == len(tokens)
    assert ends == sorted(ends)
    assert (said, ends[-1]) == (text.strip(), len(said))
    for place in range(len(said)):
        held = [token for token, (start, end) in enumerate(encoded["offset_mapping"]) if start <= before + place < end]
        found = token_worths(RewardValue(0.0, spans=((0, place + 1, 2.0),)), tokens, lambda _: ends)
        assert found == [2.0 if token == held[-1] else 0.0 for token in range(len(tokens))]


def test_tokens_and_passages_add_up_by_hand() -> None:
    """Five tokens reach 1, 1, 4, 6 and 6 characters: the second begins what the third completes, the fifth is the end.

    The passages end within the third, at the last character, and where the first token does.
    """
    spans = ((1, 3, 1.0), (0, 6, 2.0), (0, 1, -4.0), (2, 4, 0.5))
    value = RewardValue(9.0, tokens=(0.1, 0.2, 0.3, 0.4, 0.5), spans=spans)
    assert token_worths(value, (1, 2, 3, 4, 5), lambda _: (1, 1, 4, 6, 6)) == pytest.approx([-3.9, 0.2, 1.8, 2.4, 0.5])
    assert token_worths(RewardValue(9.0, spans=()), (1, 2), lambda _: (1, 1)) == [0.0, 0.0]


@dataclass
class Given:
    """Gives what it was told (fulfils ports.Scorer)."""

    told: Sequence[RewardValue]
    name: str = "given"

    def values(self, responses: Sequence[Response], round_: int) -> Sequence[RewardValue]:
        return self.told


def rewarded(*told: RewardValue) -> tuple[Prepared, RewardValues]:
    _, prepared, _ = begun(1)
    lengths = prepared.rollouts.response_lengths.tolist()
    responses = [Response(str(n), "p", "x", "q", 1, n, finished=True, tokens=(1,) * n) for n in lengths]
    filled = [*told, *(RewardValue(0.0) for _ in range(4 - len(told)))]
    reward = FunctionReward(lambda _: responses, lambda tokens: [1] * len(tokens), Given(filled), 1)
    return prepared, reward.of(prepared)


def test_what_a_function_says_becomes_tensors() -> None:
    prepared, plain = rewarded(RewardValue(2.0))
    assert (plain.mean.tolist(), plain.sd.tolist(), plain.tokens) == ([2.0, 0.0, 0.0, 0.0], [0.0] * 4, None)
    first = int(prepared.rollouts.response_lengths[0])
    tokens = tuple(float(one) for one in range(first))
    _, rich = rewarded(
        RewardValue(2.0, 0.5, tokens, parts={"facts": 1.0}), RewardValue(1.0, parts={"facts": 0.0, "tone": 3.0})
    )
    assert rich.sd.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert rich.tokens is not None
    assert rich.tokens.shape == prepared.old_logprobs.shape
    assert rich.tokens[:first].tolist() == list(tokens)
    assert not rich.tokens[first:].any()
    assert rich.parts == {"facts": 0.5, "tone": 3.0}


def test_caution_and_the_cut_act_on_the_whole_alone() -> None:
    """By hand: z = (2 - 1 x 0.5 - 1) / 0.5 = 1 for the finished, at most -1 for the cut; its tokens stay."""
    rewards = torch.tensor([2.0, 2.0]), torch.tensor([0.5, 0.5]), torch.tensor([True, False])
    z = normalise(*rewards, Normaliser(1.0, 0.5), caution=1.0)
    tensor = reward_tensor(z, torch.zeros(2, 2), torch.tensor([2, 2]), 0.1, torch.tensor([0.0, 4.0, 0.0, 4.0]))
    assert tensor.tolist() == [[0.0, 5.0], [0.0, 3.0]]
