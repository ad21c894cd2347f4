"""Whether a tuning that is killed at any moment ends in the same files, and whether damaged checkpoints are found out.

Real processes tune a tiny random model, and SIGKILL ends them: at random moments of the whole run, every other one when
something half-made or half-removed is seen on the disk, and at moments that are easy to get wrong. Each process is
forked from one that has read the model, so that it begins within milliseconds; its memory is its own, and only its
files outlive it. All run on one thread.

    PYTHONPATH=src python -m benchmarks.resume

The last line is JSON; the exit status is 1 where two runs end differently or a damaged file is not noticed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.told import Verdict, tell
from expound.files import STAGING
from expound.models.checkpoints import Held, newest_checkpoint, numbers, read_whole
from expound.models.conversion import quiet
from expound.models.learner import CHECKPOINTS, METRICS, BranchLearner
from expound.models.loading import load
from expound.ports import RewardTask, TuneTask
from expound.records import Conversation, Example, Prompt, Round, Text, content_id
from expound.settings import PpoSettings, RewardSettings, SamplingSettings

KILLS, DAMAGED = 100, 200
UPDATES = 10
PASS_ENDS = 5
"""The update of which the last prompt is the last of a pass: five updates of four prompts are four passes of five."""

GLANCE_SECONDS = 0.0005
SAVE_SECONDS = 0.02
"""How long after something half-made is seen a process may live on."""

END = "<end>"
NAMES = ("ferry", "pump", "lamp", "train", "oven")
SAMPLING = SamplingSettings(temperature=0.8, max_new_tokens=8, responses_per_prompt=2)
PPO = PpoSettings(updates=UPDATES, episodes=8, epochs=2, minibatches=2, learning_rate=0.01, live_layers=1)


class Silent:
    """Progress that nobody sees."""

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Silent]:  # noqa: ARG002
        """Give somebody who can be told of steps."""
        yield self

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Hear of a step."""

    def say(self, line: str) -> None:
        """Hear a line."""


# --- what is tuned


def write_model(folder: Path) -> Path:
    """Write a random Llama of two layers over bytes, and return its folder."""
    vocabulary = {token: number for number, token in enumerate([END, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    template = "{% for message in messages %}{{ message['content'] }}" + END + "{% endfor %}"
    shown = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=template, model_max_length=256
    )
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    ends = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), **shape, **heads, **ends))
    model.generation_config = GenerationConfig(eos_token_id=0, pad_token_id=0)
    with quiet():
        model.save_pretrained(folder)
        shown.save_pretrained(folder)
    return folder


def render(prompt: Prompt) -> Conversation:
    """Return a prompt as the model is asked it."""
    return Conversation("", prompt.text)


def task_in(project: Path) -> TuneTask:
    """Return what is to be tuned below a project's folder."""
    questions = [f"Why did the {name} stop?" for name in NAMES]
    prompts = tuple(Prompt(content_id(one), (Text("question", one),), one) for one in questions)
    return TuneTask(Round(1, 5, "{}", ""), project / "rounds" / "001" / "policy", prompts, SAMPLING, PPO)


@dataclass(frozen=True)
class Bench:
    """A learner that has read the model, the reward, and a folder for projects."""

    learner: BranchLearner
    reward: Path
    folder: Path

    def begin(self, project: Path, watch: Watch | None = None) -> int:
        """Begin, or go on with, the tuning of a project in a process of its own; return that process."""
        sys.stdout.flush()
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            sys.setprofile(watch)
            self.learner.tune(task_in(project), self.reward, Silent())
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)

    def finish(self, project: Path) -> str:
        """Let the tuning of a project come to its end, and return how it ended."""
        assert not was_killed(self.begin(project)), "nobody kills this one"
        return ending(project)


Watch = Callable[[FrameType, str, object], None]


def make_bench(folder: Path) -> Bench:
    """Return a bench with a reward that likes many different tokens."""
    learner = BranchLearner(load(str(write_model(folder / "model"))), render, Silent())
    task = task_in(folder)
    said = learner.reference().sample(task.prompts, 6, SAMPLING, task.round.key("sample train"))
    examples = [Example(one.id, one.prompt, len(set(one.tokens)) - sum(one.tokens) / 900, 0.1) for one in said]
    prompts, responses = {one.id: one for one in task.prompts}, {one.id: one for one in said}
    learner.fit(examples, prompts, responses, RewardSettings(), RewardTask(1, 5, folder / "reward"))
    return Bench(learner, folder / "reward", folder)


def ending(project: Path) -> str:
    """Return the hash of all that a finished tuning leaves, but for the seconds that it took."""
    policy = task_in(project).folder
    assert not (policy / CHECKPOINTS).exists(), "it has not ended"
    files = [path.read_bytes() for path in sorted(policy.iterdir()) if path.name != "manifest.json"]
    lines = [json.loads(line) for line in (policy.parent / METRICS).read_text().splitlines()]
    figures = [{name: one for name, one in line.items() if not name.startswith("seconds")} for line in lines]
    assert [line["update"] for line in lines] == list(range(1, UPDATES + 1))
    return hashlib.sha256(b"".join([*files, json.dumps(figures).encode()])).hexdigest()


# --- kills


def was_killed(process: int) -> bool:
    """Wait for a process; say whether SIGKILL ended it, and not its work."""
    _, status = os.waitpid(process, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, f"the tuning failed with status {status}"
    return killed


def half_made(project: Path) -> set[Path]:
    """Return what is being made, or removed, below a project's folder; no two have one name."""
    policy = task_in(project).folder
    return {path for place in (policy.parent, policy, policy / CHECKPOINTS) for path in place.glob(f"{STAGING}*")}


def kill_in_a_save(process: int, project: Path, left: set[Path], seconds: float) -> None:
    """Kill a process so many seconds after something half-made is seen that was not `left` by another."""
    while not half_made(project) - left and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(GLANCE_SECONDS)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)


@dataclass(frozen=True)
class Killed:
    """What came of random kills: how many fell inside a save, how many runs came to their end, and how those ended."""

    in_saves: int
    ends: tuple[str, ...]


def kill_at_random(bench: Bench, kills: int, seconds: float, seed: int) -> Killed:
    """Kill tunings so often, which take `seconds` when nobody does; each goes on after a kill until it ends."""
    random, done, in_saves = np.random.default_rng(seed), 0, 0
    ends: list[str] = []
    while done < kills:
        project = bench.folder / f"random-{len(ends)}"
        left, process = half_made(project), bench.begin(project)
        time.sleep(random.uniform(0, seconds / 3))
        if done % 2:
            kill_in_a_save(process, project, left, random.uniform(0, SAVE_SECONDS))
        else:
            os.kill(process, signal.SIGKILL)
        if was_killed(process):
            done, in_saves = done + 1, in_saves + bool(half_made(project) - left)
        else:
            ends.append(ending(project))
    return Killed(in_saves, (*ends, bench.finish(bench.folder / f"random-{len(ends)}")))


@dataclass
class Moment:
    """SIGKILLs its own process when a function of ours is called, or returns, for the nth time."""

    what: str
    function: str
    event: str
    count: int = 1

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG002
        """Hear that a function is called or returns."""
        if event == self.event and frame.f_code.co_qualname == self.function:
            self.count -= 1
            if not self.count:
                os.kill(os.getpid(), signal.SIGKILL)


def moments() -> list[Moment]:
    """Return the moments that are easy to get wrong."""
    return [
        Moment("before anything was kept", "CheckpointKeeper.checkpoint", "call"),
        Moment("after sampling", "BranchActor.sample", "return", 3),
        Moment("between two steps of an optimiser", "accumulate", "return", 7),
        Moment("an update is told, and not kept", "CheckpointKeeper.line", "return", 4),
        Moment("at the end of a pass over the prompts", "CheckpointKeeper.checkpoint", "return", PASS_ENDS + 1),
        Moment("in the last update", "BranchActor.prepare", "return", UPDATES),
        Moment("the last update is done, and not kept", "CheckpointKeeper.line", "return", UPDATES),
        Moment("the last update is kept", "CheckpointKeeper.checkpoint", "return", UPDATES + 1),
        Moment("before the final policy appears", "BranchLearner._finish", "call"),
        Moment("the final policy is there", "BranchLearner._finish", "return"),
    ]


def kill_at(bench: Bench, number: int, moment: Moment) -> str:
    """Kill a tuning at a moment, let it go on, and return how it ended."""
    project = bench.folder / f"moment-{number}"
    assert was_killed(bench.begin(project, moment)), f"no such moment: {moment.what}"
    return bench.finish(project)


# --- damage

Harm = Callable[[bytes, bytes, np.random.Generator], bytes | None]
"""From a file, the same of an older checkpoint and chance to what the file then holds; None: it is gone."""


def cut(content: bytes, older: bytes, random: np.random.Generator) -> bytes:  # noqa: ARG001
    """Return the beginning of a file."""
    return content[: int(random.integers(1, len(content)))]


def flip(content: bytes, older: bytes, random: np.random.Generator) -> bytes:  # noqa: ARG001
    """Return a file of which one byte is another."""
    place, change = int(random.integers(len(content))), int(random.integers(1, 256))
    return content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]


HARMS: tuple[Harm, ...] = (lambda *_: None, lambda *_: b"", lambda _new, older, _random: older)
"""Removed, emptied, swapped with the older one; as they leave nothing to chance, once a file is enough."""


def unnoticed(checkpoints: Path, cases: int, seed: int) -> list[str]:
    """Damage a file of the newest of two checkpoints, so many times; return the cases in which it was not noticed.

    Noticed means that it is said, and that the older one is read as it was written.
    """
    random, missed = np.random.default_rng(seed), []
    older, newest = (checkpoints / f"update-{number:05d}" for number in numbers(checkpoints)[-2:])
    expected = read_whole(older, "")
    files = sorted(path.name for path in newest.iterdir())
    for case in range(cases):
        name, turn = files[case % len(files)], case // len(files)
        harm = HARMS[turn] if turn < len(HARMS) else (cut, flip)[turn % 2]
        with tempfile.TemporaryDirectory(dir=checkpoints.parent) as place:
            copy = Path(shutil.copytree(checkpoints, Path(place) / CHECKPOINTS))
            content = harm((newest / name).read_bytes(), (older / name).read_bytes(), random)
            (copy / newest.name / name).unlink()
            if content is not None:
                (copy / newest.name / name).write_bytes(content)
            if not falls_back(copy, expected):
                missed.append(f"case {case}: {name}")
    return missed


def falls_back(checkpoints: Path, older: Held) -> bool:
    """Say whether the newest checkpoint is told to be damaged and the older one read."""
    identity = json.loads((sorted(checkpoints.glob("update-*"))[0] / "manifest.json").read_text())["identity"]
    del identity["update"]
    said: list[str] = []
    found = newest_checkpoint(checkpoints, identity, said.append)
    if found is None or len(said) != 1 or "is damaged" not in said[0] or found.state != older.state:
        return False
    return all(
        torch.equal(tensor, found.tensors[file][name])
        for file, tensors in older.tensors.items()
        for name, tensor in tensors.items()
    )


def kept_by(bench: Bench) -> Path:
    """Return the checkpoints of a tuning that was killed on its way."""
    project = bench.folder / "on-its-way"
    assert was_killed(bench.begin(project, Moment("", "CheckpointKeeper.checkpoint", "return", 5)))
    return task_in(project).folder / CHECKPOINTS


# --- the whole


def measure(bench: Bench, kills: int, damaged: int, seed: int) -> dict[str, float]:
    """Run everything, tell of it, and return the figures."""
    begun = time.monotonic()
    whole = bench.finish(bench.folder / "whole")
    seconds = time.monotonic() - begun
    random = kill_at_random(bench, kills, seconds, seed)
    sys.stdout.write(f"an undisturbed run takes {seconds:.1f} s\n")
    sys.stdout.write(f"{kills} kills at random, {random.in_saves} of them inside a save, {len(random.ends)} runs\n")
    ends = [whole, *random.ends]
    for number, moment in enumerate(moments()):
        ends.append(kill_at(bench, number, moment))
        sys.stdout.write(f"killed {moment.what}: {'the same' if ends[-1] == whole else 'ANOTHER END'}\n")
    missed = unnoticed(kept_by(bench), damaged, seed)
    sys.stdout.writelines(f"not noticed: {case}\n" for case in missed)
    return {
        "kills": kills,
        "kills inside a save": random.in_saves,
        "kills at chosen moments": len(moments()),
        "runs": len(ends),
        "distinct ends": len(set(ends)),
        "damaged files": damaged,
        "damaged files not noticed": len(missed),
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> int:
    """Print what was done and the line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--damaged", type=int, default=DAMAGED)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(make_bench(Path(folder)), given.kills, given.damaged, given.seed)
    targets = {"distinct ends": 1, "damaged files not noticed": 0}
    return tell("resume", Verdict(figures, targets, all(figures[name] == target for name, target in targets.items())))


if __name__ == "__main__":
    sys.exit(main())
