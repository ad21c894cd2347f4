"""The road: sample, ask, settle, fit, tune, measure; round after round until the explanations are good enough.

Every step does only what the book still lacks, so that a step which was interrupted is simply called again.
"""

from __future__ import annotations

from dataclasses import replace

from expound.feedback.asking import ask_blind, ask_train, responses_needed
from expound.feedback.verdicts import settle as settle_judgments
from expound.ports import TuneTask
from expound.project import Project
from expound.quality.measure import measure as measure_pairs
from expound.quality.stopping import decide
from expound.records import Decision, PolicyRecord, RewardCard, Round, Settlement, Split
from expound.reward.examples import build_examples


def run_round(project: Project) -> Decision:
    """Walk the road once, from the open round's first missing record to its decision."""
    current = project.open_round()
    sample(project, current)
    ask(project, current)
    collect(project, current, "train")
    if project.settlement(current) is None:
        settle(project, current)
    fit(project, current)
    tune(project, current)
    return measure(project, current)


def sample(project: Project, current: Round) -> None:
    """Sample responses of the round's first policy to the train prompts."""
    prompts = project.prompts("train", current)
    settings = project.settings_of(current)
    wanted = responses_needed(len(prompts), settings, current.number)
    project.sample_into_book("train", project.starting_policy(current), wanted, current)


def ask(project: Project, current: Round) -> None:
    """Make the round's ballots about train prompts; a fifth of a later round's look back at the round before."""
    book = project.book
    if book.ballots("train", round_=current.number):
        return
    fresh = book.responses("train", round_=current.number)
    earlier = book.responses("train", round_=current.number - 1)
    criteria = tuple(criterion.name for criterion in project.task.criteria)
    book.add(ask_train(fresh, earlier, project.settings_of(current).asking, current, criteria))


def collect(project: Project, current: Round, split: Split) -> None:
    """Have the panel answer every ballot of the round and split. People work here."""
    with project.step(current, f"collect {split}"):
        project.panel.collect(current, split, project.progress)


def settle(project: Project, current: Round) -> Settlement:
    """Weigh the raters of all rounds so far by how reliable each proves to be; only train judgments are read."""
    project.require_ballots(current)
    with project.step(current, "settle"):
        judgments = [judgment for judgment in project.book.judgments("train") if judgment.round <= current.number]
        settlement = settle_judgments(judgments, current.number)
    project.book.add(settlement)
    return settlement


def fit(project: Project, current: Round) -> RewardCard:
    """Fit the reward model to the round's settlement; one that is fitted to it already is returned as it is."""
    book, settlement, done = project.book, project.require_settlement(current), project.reward(current)
    if done is not None and done.settlement == settlement.judgments_hash:
        return done
    responses = {response.id: response for response in book.responses("train")}
    prompts = {prompt.id: prompt for prompt in book.prompts("train")}
    examples = build_examples(settlement, responses)
    with project.step(current, "fit"):
        reward = project.settings_of(current).reward
        card = project.learner.fit(examples, prompts, responses, reward, project.reward_task(current))
    card = replace(card, settlement=settlement.judgments_hash)
    book.add(card)
    return card


def tune(project: Project, current: Round) -> PolicyRecord:
    """Update the policy with PPO on the train prompts; a finished round's policy is returned as it is."""
    done = project.tuned_policy(current)
    if done is not None:
        return done
    settings = project.settings_of(current)
    project.require_reward(current)
    prompts = project.prompts("train", current)
    task = TuneTask(current, project.policy_folder(current), prompts, settings.sampling, settings.ppo)
    with project.step(current, "tune"):
        record, alarms = project.learner.tune(task, project.reward_task(current).folder, project.progress)
    project.note_alarms(current, alarms)
    project.book.add(record)
    return record


def measure(project: Project, current: Round) -> Decision:
    """Have the panel compare tuned and reference on held-out prompts, blind, and say what follows."""
    book, settings = project.book, project.settings_of(current)
    record = project.require_tuned(current)
    reference, tuned = project.reference, project.policy(record)
    for policy in (reference, tuned):
        project.sample_into_book("held_out", policy, settings.measuring.responses, current)
    if not book.ballots("held_out", round_=current.number):
        pairs = [book.responses("held_out", policy=policy.id) for policy in (reference, tuned)]
        book.add(ask_blind(pairs[0], pairs[1], settings, current))
    collect(project, current, "held_out")
    judgments = book.judgments("held_out", round_=current.number)
    responses = {response.id: response for response in book.responses("held_out")}
    evaluation = measure_pairs(judgments, responses, reference=reference.id, tuned=tuned.id, round_=current.number)
    decision = decide(evaluation, max_rounds=settings.stopping.max_rounds)
    book.add([evaluation, decision])
    return decision
