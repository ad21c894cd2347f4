"""Fits the reward that both sides are tuned with, and writes reward.json.

    PYTHONPATH=src python -m benchmarks.beside_trl.fit_reward

A linear head on the reference's last state of a response, fitted by ridge regression to what a reader would like about
a one-sentence explanation: plain words, a reason that keeps to the question, an end, no repetition. What is learnt is
a direction among 576 numbers, no keyword.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from benchmarks.beside_trl.task import REWARD, SHORT, TRAIN
from benchmarks.beside_trl.work import ids_of, questions, render, weights_folder
from expound.models.cut import decoder_of
from expound.models.loading import Loaded, load
from expound.models.policy import ModelPolicy
from expound.records import Prompt, Response, SamplingKey
from expound.settings import SamplingSettings

RESPONSES, RIDGE = 10, 300.0
SAMPLING = SamplingSettings(temperature=0.7, max_new_tokens=24)
TOGETHER = 32
KEY = SamplingKey(0, 0, "reward of the benchmark")
LINKS = re.compile(r"\b(because|since|so that|therefore|as a result|due to|which (makes|means|lets|allows)|causes?)\b")


def liked(question: str, text: str) -> float:
    """Return how far a text is a plain explanation of the question, about 0 to 1."""
    words = re.findall(r"[a-z']+", text.lower())
    if not words:
        return 0.0
    plain = 1.0 - min(1.0, max(0.0, np.mean([len(word) for word in words]) - 3.5) / 2.5)
    asked = {word[:5] for word in re.findall(r"[a-z]+", question.lower()) if len(word) > 3}
    said = {word[:5] for word in words if len(word) > 3}
    on_topic = min(1.0, len(asked & said) / max(1, len(asked)))
    reason = 1.0 if LINKS.search(text.lower()) else 0.0
    varied = len(set(words)) / len(words)
    ended = 1.0 if text.rstrip().endswith((".", "!", "?")) else 0.0
    return float(0.35 * plain + 0.2 * on_topic + 0.15 * reason + 0.15 * varied + 0.15 * ended)


@torch.no_grad()
def last_states(loaded: Loaded, prompts: Mapping[str, Prompt], responses: Sequence[Response]) -> NDArray[np.float64]:
    """Return the reference's last final state of each response, [responses, width]."""
    rows, ids = [], {id_: ids_of(loaded, [prompt])[0] for id_, prompt in prompts.items()}
    for start in range(0, len(responses), TOGETHER):
        tokens = [torch.tensor([*ids[one.prompt], *one.tokens]) for one in responses[start : start + TOGETHER]]
        states = decoder_of(loaded.model)(input_ids=pad_sequence(tokens, batch_first=True), use_cache=False)[0]
        rows += [states[row, len(one) - 1].double() for row, one in enumerate(tokens)]
    return torch.stack(rows).numpy()


def ridge(states: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights and, last, the bias."""
    mean, spread = states.mean(0), states.std(0) + 1e-6
    z = (states - mean) / spread
    weight = np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ (values - values.mean())) / spread
    return np.append(weight, values.mean() - mean @ weight)


def main() -> int:
    """Sample, fit, say how well it fits, and write."""
    loaded = load(str(weights_folder()))
    prompts = questions(SHORT, TRAIN)
    policy = ModelPolicy(loaded, render, SAMPLING)
    found = [one for chunk in policy.chunks(prompts) for one in policy.sample(chunk, RESPONSES, SAMPLING, KEY)]
    by_id = {one.id: one for one in prompts}
    values = np.array([liked(one.prompt, one.text) for one in found])
    states = last_states(loaded, by_id, found)
    is_last = np.array([one.prompt in TRAIN[-12:] for one in found])
    tried = ridge(states[~is_last], values[~is_last])
    fit = np.corrcoef(states[is_last] @ tried[:-1] + tried[-1], values[is_last])[0, 1]
    whole = ridge(states, values)
    scores = states @ whole[:-1] + whole[-1]
    weight, bias = whole[:-1] / scores.std(), (whole[-1] - scores.mean()) / scores.std()
    sys.stdout.write(
        f"{len(found)} responses; correlation with the liking of those to twelve left-out questions {fit:.2f}\n"
    )
    held = {"weight": [float(f"{one:.6g}") for one in weight], "bias": float(f"{bias:.6g}")}
    REWARD.write_text(json.dumps(held) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
