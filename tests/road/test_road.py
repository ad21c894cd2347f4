"""The whole loop, on a tiny model and a simulated panel, two rounds: every verb, every record, every page."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from expound import api
from expound.errors import TrainingStopped
from expound.models.branches import BranchActor
from expound.models.checkpoints import read_whole
from expound.ports import Progress
from expound.project import Project, open_project
from expound.records import Comparison, Decision, Rating, SamplingKey
from expound.reporting.progress import PlainProgress
from expound.tasks.material import prompt_of
from tests.support.projects import Shape, make_project, prompt_lines

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def walked(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project that has walked two rounds; read it, never write into it."""
    folder = make_project(tmp_path_factory.mktemp("road") / "project", tiny_llama_folder)
    decision = api.run(folder, rounds=2)
    assert not isinstance(decision, api.Waiting)
    assert decision.round == 2
    return folder


@pytest.fixture
def project(walked: Path) -> Iterator[Project]:
    progress: Progress = PlainProgress()
    with open_project(walked, progress, lock=False) as opened:
        yield opened


def test_every_step_left_its_records(project: Project) -> None:
    book = project.book
    assert [found.number for found in book.rounds()] == [1, 2]
    assert [record.round for record in book.policies()] == [0, 1, 2]
    assert [card.round for card in book.rewards()] == [1, 2]
    assert [decision.round for decision in book.decisions()] == [1, 2]
    assert len({record.id for record in book.policies()}) == 3
    for round_ in (1, 2):
        ballots = book.ballots("train", round_=round_)
        answered = book.answered()
        assert ballots
        assert all(ballot.id in answered for ballot in ballots)


def test_the_second_round_begins_where_the_reward_of_the_first_guesses(project: Project) -> None:
    """Its ballots stand in the order of the members' disagreement, which held-out ballots know nothing of."""
    book, prompts = project.book, {prompt.id: prompt for prompt in project.book.prompts()}
    ballots = book.ballots("train", round_=2)
    shown = {id_ for ballot in ballots for id_ in ballot.responses}
    fresh = {one.id: one for one in book.responses("train", round_=2) if one.id in shown}
    doubts = project.learner.doubts(prompts, fresh, project.reward_task(project.round(1)).folder)
    order = [max(doubts.get(id_, 0.0) for id_ in ballot.responses) for ballot in ballots]
    assert all(after <= before + 1e-6 for before, after in pairwise(order))
    assert order[0] > order[-1]


def test_a_simulated_panel_is_called_simulated_everywhere(project: Project, walked: Path) -> None:
    assert {judgment.source for judgment in project.book.judgments()} == {"simulated"}
    assert {rater.source for rater in project.book.raters()} <= {"simulated"}
    assert all("simulated" in decision.sentence.lower() for decision in project.book.decisions())
    assert "simulated" in (walked / "report.html").read_text(encoding="utf-8").lower()


def test_round_two_looks_back_at_round_one(project: Project) -> None:
    rounds = {found.id: found.round for found in project.book.responses("train")}
    across = [b for b in project.book.ballots("train", round_=2) if {rounds[r] for r in b.responses} == {1, 2}]
    assert across


def test_round_two_starts_from_the_policy_of_round_one(project: Project) -> None:
    first = project.book.policies()[1].id
    assert {found.policy for found in project.book.responses("train", round_=2)} == {first}


def test_reference_is_sampled_once_for_all_rounds(project: Project) -> None:
    reference = project.book.policies()[0].id
    assert len(project.book.responses("held_out", policy=reference)) == 3 * 2


def test_the_report_stands_alone_and_its_numbers_are_kept_beside_it(walked: Path) -> None:
    for round_ in ("001", "002"):
        page = (walked / "rounds" / round_ / "report.html").read_text(encoding="utf-8")
        assert "<script" not in page
        assert json.loads((walked / "rounds" / round_ / "report.json").read_text(encoding="utf-8"))["round"] == int(
            round_
        )


def test_status_names_the_next_action(walked: Path) -> None:
    assert "expound run" in api.status(walked)


def test_explain_and_export(walked: Path, tmp_path: Path) -> None:
    said = api.explain(walked, "Why did the pump run dry?", source="A valve was closed by the night shift.")
    assert api.explain(walked, "Why did the pump run dry?", source="A valve was closed by the night shift.") == said
    out = api.export(walked, tmp_path / "model")
    assert {"config.json", "model.safetensors", "generation_config.json"} <= {path.name for path in out.iterdir()}


def test_the_best_of_several_is_what_the_newest_reward_likes(walked: Path, project: Project) -> None:
    """Against the members' formula, on what the newest policy draws; the first draws are those of fewer."""
    said = io.StringIO()
    chosen = [api.explain(walked, "Why?", best_of=count, progress=PlainProgress(said)) for count in (2, 8)]
    prompt, key = prompt_of("Why?"), SamplingKey(project.settings.project.seed, 0, "explain")
    policy, current = project.newest_policy(), project.round(2)
    assert policy is not None
    drawn = policy.sample([prompt], 8, project.settings.sampling, key)
    held = read_whole(project.reward_task(current).folder, "").tensors["reward"]
    actor = BranchActor(project.loaded, project.task.render, live_layers="third", seed=0)
    features = actor.read(actor.rollouts_of({prompt.id: prompt}, drawn, 1.0)).double()
    each = (features - held["center"]) / held["scale"] @ held["weights"].T + held["bias"]
    worth = each.mean(1) - each.std(1)
    assert chosen == [drawn[int(worth[:count].argmax())].text for count in (2, 8)]
    assert "a KL of at most 0.19 nats" in said.getvalue()
    assert "The best of 8 by the reward of round 2" in said.getvalue()
    assert "a KL of at most 1.20 nats" in said.getvalue()
    assert api.explain(walked, "Why?", best_of=8, temperature=0.01) == api.explain(walked, "Why?")


def round_of(done: Decision | api.Waiting) -> int:
    assert isinstance(done, Decision)
    return done.round


def test_running_again_opens_the_next_round_after_the_page_of_the_last(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(updates=1))
    assert round_of(api.run(folder)) == 1
    page = folder / "rounds" / "001" / "report.html"
    page.unlink()  # as if the command had been interrupted between decision and page
    assert round_of(api.run(folder)) == 1
    assert page.is_file()
    assert round_of(api.run(folder)) == 2


def test_a_round_that_cannot_go_on_is_given_up_and_the_next_takes_its_judgments(
    tiny_llama_folder: Path, tmp_path: Path
) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(updates=2))
    settings = folder / "project.toml"
    usual = settings.read_text(encoding="utf-8")
    settings.write_text(usual.replace("learning_rate = 1e-3", "learning_rate = 1e30"), encoding="utf-8")
    with pytest.raises(TrainingStopped, match=r"infinite in update .*Lower \[ppo\] learning_rate and run again"):
        api.run(folder)
    assert "The round was given up" in api.status(folder)
    settings.write_text(usual, encoding="utf-8")
    assert round_of(api.run(folder)) == 2
    with open_project(folder, PlainProgress(), lock=False) as project:
        assert [policy.round for policy in project.book.policies()] == [0, 2]
        (reward,) = (card for card in project.book.rewards() if card.round == 2)
        judged = {response.round for response in project.book.responses("train")}
        assert judged == {1, 2}
        assert reward.examples == len({verdict.response for verdict in project.book.settlements()[-1].verdicts})
    assert "given up" not in (folder / "report.html").read_text(encoding="utf-8")


def weights_of(folder: Path) -> bytes:
    return (folder / "rounds" / "001" / "policy" / "policy.safetensors").read_bytes()


def reward_of(folder: Path) -> bytes:
    return (folder / "rounds" / "001" / "reward" / "reward.safetensors").read_bytes()


def test_held_out_judgments_change_no_reward_weight(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """Judgments on held-out prompts never teach."""
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(updates=1))
    api.run(folder)
    before = reward_of(folder)
    with open_project(folder, PlainProgress()) as project:
        for answer in turned_answers(project):
            project.book.answer([answer])
        card = project.book.rewards()[-1]
        project.book.add(replace(card, settlement="of other judgments"))
    assert api.settle(folder).judgments_hash == card.settlement
    (folder / "rounds" / "001" / "reward" / "reward.safetensors").unlink()
    api.fit(folder)
    assert reward_of(folder) == before


def turned_answers(project: Project) -> list[object]:
    """Return for every held-out comparison a later answer that says the opposite."""
    turned = []
    for rater in project.book.raters():
        for answer in project.book.answers(rater.id, 10_000):
            judgment = answer.judgments[0]
            if judgment.split == "held_out" and isinstance(judgment, Comparison):
                other = replace(judgment, choice=-judgment.choice or 1, revision=1)
                turned.append(replace(answer, key=answer.key + "r1", judgments=(other,), revision=1))
    assert turned
    return turned


def test_facts_reach_nothing_but_the_panel(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """Other facts under the same judgments find the same weights: model, fit and tune never see them."""
    plain = make_project(tmp_path / "plain", tiny_llama_folder, Shape(updates=1))
    api.run(plain)
    other = make_project(tmp_path / "other", tiny_llama_folder, Shape(updates=1))
    lines = prompt_lines()
    for line in lines:
        meta = line["meta"]
        assert isinstance(meta, dict)
        meta["facts"] = {"reason": ["zebra"], "mechanism": ["quagga"], "evidence": ["okapi"]}
    (other / "prompts" / "prompts.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    api.ask(other)
    with open_project(plain, PlainProgress(), lock=False) as source, open_project(other, PlainProgress()) as target:
        assert {b.id for b in source.book.ballots("train")} == {b.id for b in target.book.ballots("train")}
        target.book.add(source.book.raters())
        for rater in source.book.raters():
            answers = [a for a in source.book.answers(rater.id, 10_000) if a.judgments[0].split == "train"]
            target.book.answer(answers)
    api.settle(other)
    api.fit(other)
    api.tune(other)
    assert reward_of(other) == reward_of(plain)
    assert weights_of(other) == weights_of(plain)


def test_judgments_say_where_they_belong(project: Project) -> None:
    kinds = {type(judgment) for judgment in project.book.judgments("train")}
    assert kinds == {Comparison, Rating}
    assert {judgment.split for judgment in project.book.judgments()} == {"train", "held_out"}


def test_blind_pairs_are_written_and_scored(walked: Path, tmp_path: Path) -> None:
    """A reader who always finds the tuned one gets all pairs; nothing on the sheet says which it is."""
    sheet, key = tmp_path / "sheet.csv", tmp_path / "key.json"
    script = [sys.executable, str(ROOT / "scripts" / "blind-pairs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    writing = [*script, "write", str(walked), "--sheet", str(sheet), "--key", str(key), "--pairs", "5"]
    subprocess.run(writing, check=True, env=environment)
    tuned = json.loads(key.read_text(encoding="utf-8"))["tuned"]
    with sheet.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(tuned) == 5
    assert set(rows[0]) == {"pair", "question", "source", "a", "b", "choice"}
    filled = tmp_path / "filled.csv"
    with filled.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows({**row, "choice": tuned[row["pair"]]} for row in rows)
    scoring = [*script, "score", str(filled), "--key", str(key)]
    said = subprocess.run(scoring, check=True, env=environment, capture_output=True, text=True).stdout
    assert "tuned preferred 5, reference 0, no difference 0" in said
    unfilled = subprocess.run([*script, "score", str(sheet), "--key", str(key)], env=environment, check=False)
    assert unfilled.returncode == 2
