"""The whole learner on a tiny model: fit, tune, resume, go on in a second round, refuse what does not belong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import pytest
import torch

from expound.errors import ModelRefused
from expound.files import sha256_of
from expound.models.checkpoints import MANIFEST, read_tensors
from expound.models.heads import read_reward, write_reward
from expound.models.learner import BranchLearner
from expound.models.loading import load
from expound.ports import Learner, RewardTask, TuneTask
from expound.records import Conversation, Example, Prompt, RewardCard, Round
from expound.settings import PpoSettings, RewardSettings, SamplingSettings
from tests.support.tabular import make_prompt

SAMPLING = SamplingSettings(temperature=0.8, max_new_tokens=6, responses_per_prompt=2)
PPO = PpoSettings(updates=3, episodes=8, epochs=2, minibatches=2, learning_rate=0.01, live_layers=1)
PROMPTS = tuple(make_prompt(f"Why did the {name} stop?") for name in ("ferry", "pump", "lamp", "train", "oven"))


@dataclass
class Notes:
    """Progress that remembers, and interrupts after so many steps of the tuning."""

    interrupt_after: int | None = None
    lines: list[str] = field(default_factory=list)
    done: int = 0

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Notes]:
        self.done = done
        if self.interrupt_after == done and what == "tune":
            raise KeyboardInterrupt
        yield self

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        if self.interrupt_after == self.done:
            raise KeyboardInterrupt

    def say(self, line: str) -> None:
        self.lines.append(line)


def render(prompt: Prompt) -> Conversation:
    return Conversation("You answer questions.", prompt.text)


def open_learner(folder: Path | str) -> BranchLearner:
    return BranchLearner(load(str(folder)), render, Notes())


@pytest.fixture(scope="module")
def learner(tiny_llama_folder: Path) -> BranchLearner:
    return open_learner(tiny_llama_folder)


def task(project: Path, round_: int = 1, **changes: object) -> TuneTask:
    folder = project / "rounds" / f"{round_:03d}" / "policy"
    made = TuneTask(Round(round_, 5, "{}", ""), folder, PROMPTS, SAMPLING, PPO)
    return replace(made, **changes)


def fitted(
    learner: BranchLearner, project: Path, round_: int = 1, prompts: tuple[Prompt, ...] = PROMPTS
) -> tuple[RewardCard, Path]:
    """Fit a reward that likes responses with many different tokens, on the reference's own responses."""
    policy, key = learner.reference(), Round(1, 5, "{}", "").key("sample train")
    responses = {response.id: response for response in policy.sample(prompts, 6, SAMPLING, key)}
    examples = [
        Example(response.id, response.prompt, len(set(response.tokens)) - sum(response.tokens) / 900, 0.1)
        for response in responses.values()
    ]
    folder = project / "rounds" / f"{round_:03d}" / "reward"
    by_id = {prompt.id: prompt for prompt in prompts}
    target = RewardTask(round_, 5, folder)
    return learner.fit(examples, by_id, responses, RewardSettings(), target), folder


def hashes(folder: Path) -> tuple[str, str]:
    return sha256_of(folder / "policy.safetensors"), sha256_of(folder / "value.safetensors")


@pytest.fixture(scope="module")
def whole(learner: BranchLearner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project with one round fitted and tuned without a break."""
    project = tmp_path_factory.mktemp("project")
    _, reward = fitted(learner, project)
    learner.tune(task(project), reward, Notes())
    return project


def test_it_is_a_learner(learner: BranchLearner) -> None:
    port: Learner = learner
    assert port is learner


def test_a_fit_leaves_a_reward_and_its_card(learner: BranchLearner, tmp_path: Path) -> None:
    card, folder = fitted(learner, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "reward.safetensors", "state.json"]
    stored = json.loads((folder / "state.json").read_text())
    assert {name: stored[name] for name in ("id", "mean", "sd", "pairs")} == {
        "id": card.id,
        "mean": card.mean,
        "sd": card.sd,
        "pairs": card.pairs,
    }
    assert (card.round, card.examples, card.members) == (1, 30, 4)
    assert 0 <= card.pair_accuracy_low <= card.pair_accuracy <= card.pair_accuracy_high <= 1
    assert fitted(learner, tmp_path)[0] == card


def test_a_later_fit_reads_what_has_come_since(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """Also where responses join a round that was read before: it then agrees with a learner that begins afresh."""
    learner, fresh = open_learner(tiny_llama_folder), open_learner(tiny_llama_folder)
    fitted(learner, tmp_path, prompts=PROMPTS[1:])
    assert fitted(learner, tmp_path)[0] == fitted(fresh, tmp_path)[0]


def test_doubts_are_how_far_the_members_disagree(learner: BranchLearner, tmp_path: Path) -> None:
    """Twice the weights are twice the disagreement; the card holds its mean over the reference's responses."""
    card, folder = fitted(learner, tmp_path)
    by_id = {prompt.id: prompt for prompt in PROMPTS}
    key = Round(1, 5, "{}", "").key("sample train")
    responses = {one.id: one for one in learner.reference().sample(PROMPTS, 6, SAMPLING, key)}
    found = learner.doubts(by_id, responses, folder)
    assert found.keys() == responses.keys()
    assert fmean(found.values()) == pytest.approx(card.doubt, rel=1e-5)
    identity = json.loads((folder / MANIFEST).read_text())["identity"]
    _, heads = read_reward(folder, identity)
    assert heads is not None
    write_reward(folder, replace(heads, weights=2 * heads.weights, bias=2 * heads.bias), card, identity)
    assert learner.doubts(by_id, responses, folder) == pytest.approx({id_: 2 * one for id_, one in found.items()})


def test_a_round_leaves_a_policy_and_its_metrics(learner: BranchLearner, whole: Path) -> None:
    folder = task(whole).folder
    names = ["manifest.json", "policy.safetensors", "state.json", "value.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    lines = [json.loads(line) for line in (folder.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 3]
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert lines[-1]["kl"] != pytest.approx(0, abs=1e-4)
    assert all(line["gap"] < 1e-3 and line["optimiser_steps"] == 4 for line in lines)
    record, alarms = learner.tune(task(whole), folder.parent / "reward", Notes())
    assert (record.round, record.folder, record.ended) == (1, "rounds/001/policy", "all 3 updates are done")
    assert [alarm.action for alarm in alarms if alarm.action != "note"] == []
    policy = learner.policy(record.id, folder)
    assert policy.id == record.id != learner.reference().id
    key = Round(1, 5, "{}", "").key("held out")
    assert policy.sample(PROMPTS, 1, SAMPLING, key) != learner.reference().sample(PROMPTS, 1, SAMPLING, key)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_kill_between_any_two_updates_changes_nothing(
    tiny_llama_folder: Path, whole: Path, tmp_path: Path, after: int
) -> None:
    """Another learner, as in another process, goes on from the checkpoint and ends in the same bytes."""
    shutil.copytree(whole / "rounds" / "001" / "reward", tmp_path / "rounds" / "001" / "reward")
    reward = tmp_path / "rounds" / "001" / "reward"
    first = open_learner(tiny_llama_folder)
    with pytest.raises(KeyboardInterrupt):
        first.tune(task(tmp_path), reward, Notes(interrupt_after=after))
    (task(tmp_path).folder / ".staging-dead").write_text("half")
    torch.manual_seed(99)
    second = open_learner(tiny_llama_folder)
    record, _ = second.tune(task(tmp_path), reward, Notes())
    assert record.ended == "all 3 updates are done"
    assert hashes(task(tmp_path).folder) == hashes(task(whole).folder)
    assert not list(task(tmp_path).folder.glob(".staging-*"))
    metrics = (task(tmp_path).folder.parent / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in metrics] == [1, 2, 3]


@pytest.mark.parametrize("estimator", ["rloo", "grpo"])
def test_without_a_value_the_policy_alone_learns_and_a_kill_changes_nothing(
    learner: BranchLearner, tiny_llama_folder: Path, tmp_path: Path, estimator: str
) -> None:
    ended, folders = [], (tmp_path / "whole", tmp_path / "killed")
    for project, stops in zip(folders, (None, 2), strict=True):
        _, reward = fitted(learner, project)
        todo = task(project, ppo=PPO.model_copy(update={"estimator": estimator}))
        if stops is not None:
            with pytest.raises(KeyboardInterrupt):
                learner.tune(todo, reward, Notes(interrupt_after=stops))
        open_learner(tiny_llama_folder).tune(todo, reward, Notes())
        ended.append((hashes(todo.folder), (todo.folder.parent / "metrics.jsonl").read_text().count("flat_groups")))
        values = read_tensors(todo.folder / "value.safetensors")
        assert not values["value.2.weight"].any(), "a value begins with a last layer of zeros"
    assert ended[0] == ended[1]


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_kill_changes_nothing_in_the_other_modes(
    tiny_llama_folder: Path, whole: Path, tmp_path: Path, mode: str
) -> None:
    reward, ppo = whole / "rounds" / "001" / "reward", PPO.model_copy(update={"mode": mode, "updates": 2})
    open_learner(tiny_llama_folder).tune(task(tmp_path / "whole", ppo=ppo), reward, Notes())
    with pytest.raises(KeyboardInterrupt):
        open_learner(tiny_llama_folder).tune(task(tmp_path / "killed", ppo=ppo), reward, Notes(interrupt_after=1))
    open_learner(tiny_llama_folder).tune(task(tmp_path / "killed", ppo=ppo), reward, Notes())
    assert hashes(task(tmp_path / "killed").folder) == hashes(task(tmp_path / "whole").folder)
    assert hashes(task(tmp_path / "whole").folder) != hashes(task(whole).folder)


def test_a_damaged_newest_checkpoint_costs_an_update_and_nothing_else(
    learner: BranchLearner, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / "rounds" / "001" / "reward", tmp_path / "rounds" / "001" / "reward")
    reward, notes = tmp_path / "rounds" / "001" / "reward", Notes()
    with pytest.raises(KeyboardInterrupt):
        learner.tune(task(tmp_path), reward, Notes(interrupt_after=2))
    checkpoints = task(tmp_path).folder / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["update-00001", "update-00002"]
    (checkpoints / "update-00002" / "policy.safetensors").write_bytes(b"short")
    learner.tune(task(tmp_path), reward, notes)
    assert any("update-00002 is damaged" in line for line in notes.lines)
    assert hashes(task(tmp_path).folder) == hashes(task(whole).folder)


def test_what_belongs_to_something_else_is_refused(learner: BranchLearner, whole: Path, tmp_path: Path) -> None:
    reward = whole / "rounds" / "001" / "reward"
    with pytest.raises(KeyboardInterrupt):
        learner.tune(task(tmp_path), reward, Notes(interrupt_after=1))
    other_settings = task(tmp_path, ppo=PPO.model_copy(update={"epochs": 3}))
    with pytest.raises(ModelRefused, match="another settings"):
        learner.tune(other_settings, reward, Notes())
    with pytest.raises(ModelRefused, match="another set of prompts"):
        learner.tune(task(tmp_path, prompts=PROMPTS[:4]), reward, Notes())


@pytest.mark.parametrize("name", ["state.json", "reward.safetensors", "manifest.json"])
def test_a_damaged_reward_is_refused(learner: BranchLearner, whole: Path, tmp_path: Path, name: str) -> None:
    """Also one whose card has another digit: mean and spread decide what PPO maximises."""
    reward = tmp_path / "reward"
    shutil.copytree(whole / "rounds" / "001" / "reward", reward)
    content = (reward / name).read_text(encoding="latin-1")
    for harmed in (content[:-9], content.replace("1", "2", 1)):
        (reward / name).write_text(harmed, encoding="latin-1")
        with pytest.raises(ModelRefused, match="reward is damaged"):
            learner.tune(task(tmp_path), reward, Notes())
    (reward / name).unlink()
    with pytest.raises(ModelRefused, match="reward is damaged"):
        learner.tune(task(tmp_path), reward, Notes())


def test_the_second_round_goes_on_from_the_first(learner: BranchLearner, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "project")
    project = tmp_path / "project"
    _, reward = fitted(learner, project, round_=2)
    record, _ = learner.tune(task(project, 2), reward, Notes())
    assert record.folder == "rounds/002/policy"
    line: Mapping[str, float] = json.loads((project / "rounds/002/metrics.jsonl").read_text().splitlines()[0])
    assert line["kl"] != pytest.approx(0, abs=1e-4)
    (project / "rounds/002/policy/policy.safetensors").write_bytes(b"short")
    with pytest.raises(ModelRefused, match="002/policy is damaged"):
        learner.tune(task(project, 3), reward, Notes())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sigkill_at_any_moment_changes_nothing() -> None:
    """Ten random moments, half of them inside a save, and ten chosen ones; the benchmark does it a hundred times."""
    command = [sys.executable, "-m", "benchmarks.resume", "--kills", "10", "--damaged", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["figures"]["kills inside a save"] > 0
