"""The road: sample, ask, settle, fit, tune, measure; round after round until the explanations are good enough.

Every step does only what the book still lacks, so that a step which was interrupted is simply called again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from expound.feedback.asking import ask_blind, ask_train, of_round, responses_needed
from expound.feedback.verdicts import settle as settle_judgments
from expound.panel.function import asked_once, scored_sample
from expound.ports import TuneTask
from expound.project import Project
from expound.quality.measure import measure as measure_pairs
from expound.quality.stopping import decide
from expound.records import Decision, PolicyRecord, Response, RewardCard, Round, Score, Settlement, Split
from expound.reward.examples import build_examples


def run_round(project: Project) -> Decision:
    """Walk the road once, from the open round's first missing record to its decision."""
    current = project.open_round()
    sample(project, current)
    ask(project, current)
    collect(project, current, "train")
    if not project.settings_of(current).panel.is_scored and project.settlement(current) is None:
        settle(project, current)
    fit(project, current)
    tune(project, current)
    return measure(project, current)


def sample(project: Project, current: Round) -> None:
    """Sample responses of the round's first policy to the train prompts."""
    wanted = responses_needed(len(project.prompts("train", current)), project.settings_of(current), current.number)
    project.sample_into_book("train", project.starting_policy(current), wanted, current)


def ask(project: Project, current: Round) -> None:
    """Make the round's ballots about train prompts; a fifth of a later round's look back at the round before."""
    book, settings = project.book, project.settings_of(current)
    if settings.panel.is_scored or book.ballots("train", round_=current.number):
        return
    sampled, policies = book.responses("train"), book.policies()
    fresh, earlier = (of_round(sampled, policies, number) for number in (current.number, current.number - 1))
    criteria = project.task.asked(settings.asking.criteria)
    ballots = ask_train(fresh, earlier, settings.asking, current, criteria, _doubts(project, current, fresh))
    book.add(ballots if settings.panel.function is None else asked_once(ballots))


def _doubts(project: Project, current: Round, fresh: Sequence[Response]) -> Mapping[str, float]:
    """Return how far the members of the reward of the round before disagree about responses, if it has members."""
    before = [card for card in project.book.rewards() if card.round == current.number - 1 and card.members > 1]
    if not before or not fresh:
        return {}
    folder = project.reward_task(project.round(before[0].round)).folder
    prompts = {prompt.id: prompt for prompt in project.book.prompts("train")}
    return project.learner.doubts(prompts, {one.id: one for one in fresh}, folder)


def collect(project: Project, current: Round, split: Split) -> None:
    """Have the panel answer every ballot of the round and split. People work here."""
    with project.step(current, f"collect {split}"):
        project.panel.collect(current, split, project.progress)


def settle(project: Project, current: Round) -> Settlement:
    """Weigh the raters of all rounds so far by how reliable each proves to be; only train judgments are read."""
    project.require_ballots(current)
    with project.step(current, "settle"):
        found = project.book.judgments("train")
        judgments = [one for one in found if one.round <= current.number and not isinstance(one, Score)]
        settlement = settle_judgments(judgments, current.number)
    project.book.add(settlement)
    return settlement


def fit(project: Project, current: Round) -> RewardCard:
    """Fit the reward model to the round's settlement, unless that is done; a function of the user's needs no fit."""
    if project.settings_of(current).panel.is_scored:
        return project.reward(current) or _adopt(project, current)
    book, settlement, done = project.book, project.require_settlement(current), project.reward(current)
    if done is not None and done.settlement == settlement.judgments_hash:
        return done
    found, policies, rounds = book.responses("train"), book.policies(), range(1, current.number + 1)
    read = [one for one in found if one.round == 0]  # they came from files with judgments of them
    read += [one for number in rounds for one in of_round(found, policies, number)]
    responses = {one.id: one for one in read}
    prompts = {prompt.id: prompt for prompt in book.prompts("train")}
    examples = build_examples(settlement, responses)
    with project.step(current, "fit"):
        reward = project.settings_of(current).reward
        card = project.learner.fit(examples, prompts, responses, reward, project.reward_task(current))
    card = replace(card, settlement=settlement.judgments_hash)
    book.add(card)
    return card


def _adopt(project: Project, current: Round) -> RewardCard:
    with project.step(current, "fit"):
        responses = scored_sample(project.book, current)
        card = project.learner.adopt(project.scorer, responses, project.reward_task(current))
    project.book.add(card)
    return card


def tune(project: Project, current: Round) -> PolicyRecord:
    """Update the policy with PPO on the train prompts; a finished round's policy is returned as it is."""
    done = project.tuned_policy(current)
    if done is not None:
        return done
    settings = project.settings_of(current)
    project.require_reward(current)
    prompts = project.prompts("train", current)
    scorer = project.scorer if settings.panel.is_scored else None
    task = TuneTask(current, project.policy_folder(current), prompts, settings.sampling, settings.ppo, scorer)
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
