"""PPO learns two toy tasks whose best answer is known, with real models: walks through a graph, and rising numbers.

The first is after the random walks of trlX, the second after the increasing numbers of RL4LMs. A word is a token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from expound.models.branches import actor_for
from expound.models.loading import Loaded
from expound.ppo.actor import Prepared, RewardValues
from expound.ppo.rollout import Normaliser, Rollouts
from expound.ppo.tune import Learning, TunePlan, begin, one_update
from expound.ppo.update import make_optimisers
from expound.records import Conversation, Prompt, Round, SamplingKey, Text
from expound.settings import PpoSettings, SamplingSettings
from tests.support.tiny import tiny_gpt2, tiny_llama

NODES, GOAL, LONGEST = 16, 0, 8
NUMBERS, REACH = 32, 4
LAYERS, WIDTH, LESSONS = 3, 48, 300
UPDATES = 30
BUILDERS = {"gpt2": tiny_gpt2, "llama": tiny_llama}

Score = Callable[[int, Sequence[int]], float]


@dataclass(frozen=True)
class Task:
    """Words 0, 1 ... as prompts of one word; a score in [0, 1] of the words that follow, 1 for the best."""

    model: PreTrainedModel
    words: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    longest: int
    score: Score

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return tuple(Prompt(f"p{start}", (Text("question", str(start)),), f"from {start}") for start in self.starts)

    @property
    def loaded(self) -> Loaded:
        return Loaded(self.model.eval().requires_grad_(requires_grad=False), words(self.words), "id", self.ends, 0, 64)

    @property
    def sampling(self) -> SamplingSettings:
        return SamplingSettings(temperature=1.0, max_new_tokens=self.longest, responses_per_prompt=8)

    def scores(self, rollouts: Rollouts) -> torch.Tensor:
        """Return the score of each episode, [episodes]."""
        rows = rollouts.tokens.tensor_split(rollouts.starts[1:-1])
        return torch.tensor([self.score(int(row[0]), row[1:].tolist()) for row in rows])

    def of(self, prepared: Prepared) -> RewardValues:
        scores = self.scores(prepared.rollouts)
        return RewardValues(scores, torch.zeros_like(scores))


def words(count: int) -> PreTrainedTokenizerFast:
    """Give a tokenizer whose words are the numbers below `count`, token n being the word n."""
    tokenizer = Tokenizer(models.WordLevel({str(number): number for number in range(count)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template="{{ messages[-1]['content'] }}")


def render(prompt: Prompt) -> Conversation:
    return Conversation("", prompt.text)


# --- walks through a graph ----------------------------------------------------------------------------------------


def random_graph(seed: int) -> list[list[int]]:
    """Give for each node those that an edge leads to; the goal can be reached from everywhere, by 1 to 5 edges."""
    generator = np.random.default_rng(seed)
    while True:
        edges = generator.random((NODES, NODES)) < 0.14
        graph = [[int(node) for node in np.flatnonzero(row) if node != start] for start, row in enumerate(edges)]
        away = distances(graph)
        if len(away) == NODES and 3 <= max(away.values()) <= 5 and all(graph):
            return graph


def distances(graph: Sequence[Sequence[int]]) -> dict[int, int]:
    """Return the edges of a shortest way to the goal, of every node from which there is one."""
    found, waiting = {GOAL: 0}, deque([GOAL])
    while waiting:
        reached = waiting.popleft()
        for node in (start for start, ends in enumerate(graph) if reached in ends and start not in found):
            found[node] = found[reached] + 1
            waiting.append(node)
    return found


def graph_score(graph: Sequence[Sequence[int]]) -> Score:
    """Give 1 for a shortest walk to the goal and less for a longer one; 0 for one that jumps or does not arrive."""
    away = distances(graph)

    def score(start: int, walk: Sequence[int]) -> float:
        legal = all(second in graph[first] for first, second in zip([start, *walk], walk, strict=False))
        if not legal or walk[-1] != GOAL:
            return 0.0
        return (LONGEST + 1 - len(walk)) / (LONGEST + 1 - away[start])

    return score


def graph_task(kind: str, seed: int) -> Task:
    graph = random_graph(seed)
    return Task(taught(kind, graph, seed), NODES, tuple(range(1, NODES)), (GOAL,), LONGEST, graph_score(graph))


def random_walks(graph: Sequence[Sequence[int]], generator: np.random.Generator) -> torch.Tensor:
    """Return LESSONS x 32 walks, each of LONGEST steps behind its start."""
    degrees = np.array([len(ends) for ends in graph])
    table = np.array([[*ends, *[0] * (degrees.max() - len(ends))] for ends in graph])
    walks = [generator.integers(len(graph), size=LESSONS * 32)]
    for _ in range(LONGEST):
        walks.append(table[walks[-1], generator.integers(degrees[walks[-1]])])
    return torch.from_numpy(np.stack(walks, axis=1))


def taught(kind: str, graph: Sequence[Sequence[int]], seed: int) -> PreTrainedModel:
    """Give a model that has learnt to continue random walks, which is all that a reference knows of the graph."""
    model = BUILDERS[kind](len(graph), LAYERS, WIDTH, seed=seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for rows in random_walks(graph, np.random.default_rng(seed)).split(32):
        logits = model(input_ids=rows[:, :-1], attention_mask=torch.ones_like(rows[:, :-1])).logits
        optimiser.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        optimiser.step()
    return model


# --- rising numbers -----------------------------------------------------------------------------------------------


def rising_score(start: int, numbers: Sequence[int]) -> float:
    """Return the share of the numbers that come before one that is not greater than the last."""
    rising = 0
    for first, second in zip([start, *numbers], numbers, strict=False):
        if second <= first:
            break
        rising += 1
    return rising / len(numbers)


def rising_task(kind: str, seed: int) -> Task:
    """The reference goes up and down by as much as REACH, as often the one as the other."""
    near = [[end for end in range(NUMBERS) if 0 < abs(end - number) <= REACH] for number in range(NUMBERS)]
    model = taught(kind, near, seed)
    return Task(model, NUMBERS, tuple(range(8)), (NUMBERS,), LONGEST, rising_score)


# --- learning -----------------------------------------------------------------------------------------------------


def learnt(task: Task, seed: int, mode: str, **ppo: object) -> tuple[float, float]:
    """Return the mean score of the reference and of the tuned policy, of responses that nothing was learnt from.

    Alarms are not heeded: walks that become shortest become shorter, which is one.
    """
    settings: dict[str, object] = {
        "mode": mode,
        "live_layers": LAYERS - 1 if mode == "branches" else "third",
        "updates": UPDATES,
        "episodes": len(task.prompts) * task.sampling.responses_per_prompt,  # every prompt in every update
        "minibatches": 2,
        "learning_rate": 1e-3 if mode == "full" else 2e-3,
        "kl_weight": 0.01,
        "kl_target": 0,
    }
    plan = TunePlan(
        Round(1, seed, "{}", ""),
        task.prompts,
        task.sampling,
        PpoSettings.model_validate(settings | ppo),
        Normaliser(1.0, 0.3),
    )
    actor = actor_for(task.loaded, render, plan.ppo, seed)
    key = SamplingKey(seed, 1, "outcome")
    before = task.scores(actor.sample(task.prompts, 32, task.sampling, key)).mean()
    learning, state = Learning(actor, make_optimisers(actor, plan.rate(1)), task), begin(plan)
    for _ in range(UPDATES):
        state, _ = one_update(learning, plan, state)
    after = task.scores(actor.sample(task.prompts, 32, task.sampling, key)).mean()
    return float(before), float(after)


def test_the_best_answers_are_known() -> None:
    """A shortest walk gets 1, and only such a one; so do numbers that never fall."""
    graph = [[1], [2, 3], [0], [2, 0], [3], *[[0]] * (NODES - 5)]
    score = graph_score(graph)
    assert (score(4, [3, 0]), score(1, [3, 0]), score(1, [2, 0])) == (1.0, 1.0, 1.0)
    assert score(4, [3, 2, 0]) == pytest.approx(6 / 7)
    assert (score(4, [0]), score(4, [3, 2])) == (0.0, 0.0), "a jump; not there yet"
    assert (rising_score(3, [4, 6, 7, 31]), rising_score(3, [4, 6, 6, 31]), rising_score(3, [3, 4])) == (1.0, 0.5, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode", "seed"),
    [
        *product(("gpt2", "llama"), ("branches", "lora", "full"), (0,)),
        *product(("llama",), ("branches", "full"), (1, 2)),
    ],
)
def test_walks_become_shortest_in_every_mode(kind: str, mode: str, seed: int) -> None:
    before, after = learnt(graph_task(kind, seed), seed, mode)
    assert before < 0.5
    assert after >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "estimator"), [("gpt2", "gae"), *product(("llama",), ("gae", "rloo", "grpo"))])
def test_numbers_rise_with_every_estimator(kind: str, estimator: str) -> None:
    before, after = learnt(rising_task(kind, 0), 0, "branches", estimator=estimator)
    assert before < 0.3
    assert after >= 0.8
