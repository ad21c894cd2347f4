"""Checkpoints: whole or not used, newest first, and only for what they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import Parameter
from torch.optim import AdamW

from benchmarks.resume import unnoticed
from expound.errors import ModelRefused
from expound.files import sha256_of
from expound.models.checkpoints import (
    Held,
    damage,
    keep_only,
    moments,
    newest_checkpoint,
    numbers,
    read_whole,
    restore_moments,
    save_checkpoint,
    to_bytes,
    write_whole,
)

IDENTITY = {"reference": "r1", "reward": "w1"}


def save_numbered(folder: Path, *updates: int) -> None:
    for update in updates:
        filled = torch.full((2, 3), float(update))
        tensors = {"policy": {"a": filled}, "value": {"b": filled + 1}, "optimizer": {"c": filled + 2}}
        save_checkpoint(folder, update, Held(tensors, json.dumps({"update": update})), IDENTITY)


def newest(folder: Path, identity: dict[str, str] = IDENTITY) -> tuple[Held | None, list[str]]:
    said: list[str] = []
    return newest_checkpoint(folder, identity, said.append), said


def test_the_newest_comes_back_as_it_was(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") == (None, [])
    save_numbered(tmp_path, 0, 2, 11)
    found, said = newest(tmp_path)
    assert found is not None
    assert (found.state, said) == ('{"update": 11}', [])
    assert torch.equal(found.tensors["policy"]["a"], torch.full((2, 3), 11.0))
    keep_only(tmp_path, {2, 7})
    assert numbers(tmp_path) == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update-00002"]


def test_two_hundred_damaged_files_are_all_noticed(tmp_path: Path) -> None:
    """Each file cut, with a changed byte, removed, emptied, or that of the older checkpoint: that one is then read."""
    save_numbered(tmp_path / "checkpoints", 1, 2)
    assert unnoticed(tmp_path / "checkpoints", 200, seed=3) == []


def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path: Path) -> None:
    save_numbered(tmp_path, 1, 2)
    (tmp_path / "update-00002" / "policy.safetensors").write_bytes(b"short")
    with pytest.raises(ModelRefused, match="is damaged"):
        read_whole(tmp_path / "update-00002", "Tune again.")
    found, said = newest(tmp_path)
    assert found is not None
    assert found.state == '{"update": 1}'
    assert len(said) == 1
    assert "update-00002 is damaged (policy.safetensors has changed)" in said[0]
    assert len(list((tmp_path / "quarantine").iterdir())) == 1
    again, said = newest(tmp_path)
    assert again is not None
    assert (again.state, said) == (found.state, [])


def test_when_none_is_whole_there_is_none(tmp_path: Path) -> None:
    save_numbered(tmp_path, 1, 2)
    (tmp_path / "update-00001" / "state.json").unlink()
    (tmp_path / "update-00002" / "state.json").unlink()
    (tmp_path / "update-00002" / "state.json").mkdir()
    found, said = newest(tmp_path)
    assert found is None
    assert ["cannot be read (Is a directory)" in said[0], "state.json is missing" in said[1]] == [True, True]


def test_a_checkpoint_under_another_number_is_refused(tmp_path: Path) -> None:
    save_numbered(tmp_path, 1)
    (tmp_path / "update-00001").rename(tmp_path / "update-00004")
    with pytest.raises(ModelRefused, match="update-00004 belongs to another update \\(1, not 4\\)"):
        newest(tmp_path)


def test_another_reference_or_reward_is_refused_by_name(tmp_path: Path) -> None:
    save_numbered(tmp_path, 1)
    with pytest.raises(ModelRefused, match="update-00001 belongs to another reference \\(r1, not r2\\)"):
        newest(tmp_path, {**IDENTITY, "reference": "r2"})
    with pytest.raises(ModelRefused, match="another reward"):
        newest(tmp_path, {"reference": "r1"})


def test_another_machine_is_told(tmp_path: Path) -> None:
    save_numbered(tmp_path, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        found, said = newest(tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert found is not None
    assert len(said) == 1
    assert f"not bit for bit: threads {threads} -> {threads + 1}" in said[0]


def test_half_made_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    save_numbered(tmp_path, 1)
    (tmp_path / ".staging-dead").mkdir()
    assert newest(tmp_path)[0] is not None
    assert not (tmp_path / ".staging-dead").exists()


def test_a_finished_policy_lives_beside_other_things(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    write_whole(tmp_path, Held({"policy": {"a": torch.ones(2)}}, "{}"), IDENTITY)
    assert damage(tmp_path) is None
    (tmp_path / "state.json").write_text("{ }")
    assert damage(tmp_path) == "state.json has changed"


def test_equal_tensors_are_equal_bytes(tmp_path: Path) -> None:
    one = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.ones(2)}
    other = {"a": torch.ones(2), "b": torch.arange(6.0).reshape(2, 3).T.contiguous()}
    (tmp_path / "one").write_bytes(to_bytes(one))
    (tmp_path / "other").write_bytes(to_bytes(other))
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "other")


@pytest.mark.parametrize("before", [0, 2])
def test_an_optimiser_goes_on_as_if_nothing_had_happened(before: int) -> None:
    def steps(parameters: list[Parameter], optimiser: AdamW, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            sum(((parameter - 1) ** 3).sum() for parameter in parameters).backward()
            optimiser.step()

    def fresh() -> tuple[list[Parameter], AdamW]:
        parameters = [Parameter(torch.arange(3.0)), Parameter(torch.ones(2, 2) * 3)]
        return parameters, AdamW(parameters, lr=0.1)

    whole, optimiser = fresh()
    steps(whole, optimiser, 5)
    first, optimiser = fresh()
    steps(first, optimiser, before)
    kept = {name: tensor.clone() for name, tensor in moments({"it": optimiser}).items()}
    second, again = fresh()
    with torch.no_grad():
        for parameter, value in zip(second, first, strict=True):
            parameter.copy_(value)
    restore_moments({"it": again}, kept)
    steps(second, again, 5 - before)
    assert all(torch.equal(one, other) for one, other in zip(whole, second, strict=True))
    kept["it.1.exp_avg"] = torch.zeros(3)
    with pytest.raises(ModelRefused, match=r"does not fit what learns \(first difference: it\.1\.exp_avg\)"):
        restore_moments({"it": again}, kept)
    del kept["it.0.step"]
    with pytest.raises(ModelRefused, match=r"first difference: it\.0\.step"):
        restore_moments({"it": again}, kept)
