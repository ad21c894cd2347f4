"""Which ballots a round makes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import pytest

from expound.feedback.asking import ask_blind, ask_train, questions, responses_needed
from expound.records import Ballot, Response, Round
from expound.settings import (
    AskingSettings,
    MeasuringSettings,
    PanelSettings,
    PpoSettings,
    ProjectSettings,
    SamplingSettings,
    Settings,
)

FIRST, SECOND = Round(1, 7, "", ""), Round(2, 7, "", "")


def responses(prompts: int, each: int, *, policy: str = "reference", round_: int = 1, text: str = "") -> list[Response]:
    made = []
    for prompt in (f"p{number}" for number in range(prompts)):
        for sample in range(each):
            said = text or f"{policy} says {sample} of {prompt}"
            name = Response.make_id(prompt, policy, round_, sample, said)
            made.append(Response(name, prompt, said, policy, round_, sample, True))
    return made


def measuring(overlap_share: float, *, responses: int, overlap: int = 1) -> Settings:
    settings = settings_with(AskingSettings(overlap_share=overlap_share))
    return settings.model_copy(update={"measuring": MeasuringSettings(responses=responses, overlap=overlap)})


def settings_with(asking: AskingSettings, each: int = 4) -> Settings:
    return Settings(
        project=ProjectSettings(name="n", task="answer", model="m"),
        panel=PanelSettings(kinds=("simulated",)),
        asking=asking,
        sampling=SamplingSettings(responses_per_prompt=each),
        ppo=PpoSettings(episodes=4 * each),
    )


def pairs_of(ballots: Sequence[Ballot]) -> Counter[frozenset[str]]:
    return Counter(frozenset(ballot.responses) for ballot in ballots)


@pytest.mark.parametrize(("prompts", "expected"), [(3, 60), (48, 96), (1_000, 600)])
def test_auto_asks_two_questions_a_prompt_within_bounds(prompts: int, expected: int) -> None:
    assert questions("auto", prompts) == expected
    assert questions(17, prompts) == 17


@pytest.mark.parametrize(
    ("count", "prompts", "round_", "expected"),
    [
        (30, 48, 1, 2),  # not even one pair a prompt: two responses make one
        (96, 48, 1, 3),  # two pairs a prompt: three responses make three
        (252, 28, 1, 5),  # nine pairs a prompt: five responses make ten
        (600, 28, 1, 6),  # more than six can make; the first round goes half above four
        (600, 28, 2, 4),
        (5, 0, 1, 4),  # no prompts yet: as for one
    ],
)
def test_only_responses_that_the_questions_use_are_sampled(
    count: int, prompts: int, round_: int, expected: int
) -> None:
    settings = settings_with(AskingSettings(count=count))
    assert responses_needed(prompts, settings, round_) == expected


def test_ratings_need_a_response_each() -> None:
    settings = settings_with(AskingSettings(count=30, ballots=("comparison", "rating")))
    assert responses_needed(7, settings, 1) == 5
    assert responses_needed(7, settings, 2) == 4


def test_an_odd_number_of_responses_is_raised_by_half_rounded_up() -> None:
    assert responses_needed(2, settings_with(AskingSettings(count=60), each=5), 1) == 8


def test_questions_are_spread_over_the_prompts_and_never_repeat_a_pair() -> None:
    ballots = ask_train(responses(10, 4), (), AskingSettings(count=33, overlap_share=0), FIRST)
    assert len(ballots) == 33
    assert set(Counter(ballot.prompt for ballot in ballots).values()) == {3, 4}
    assert max(pairs_of(ballots).values()) == 1


def test_few_questions_of_a_prompt_already_join_its_responses() -> None:
    ballots = ask_train(responses(4, 5), (), AskingSettings(count=20, overlap_share=0), FIRST)
    seen = Counter(response for ballot in ballots for response in ballot.responses)
    assert set(seen.values()) == {2}, "five pairs of five responses are a ring"
    assert len(seen) == 20


def test_all_pairs_are_asked_when_there_are_enough_questions() -> None:
    made = responses(2, 4)
    ballots = ask_train(made, (), AskingSettings(count=100, overlap_share=0), FIRST)
    every = {frozenset((a.id, b.id)) for a, b in combinations(made, 2) if a.prompt == b.prompt}
    assert set(pairs_of(ballots)) == every


def test_copies_of_a_question_alternate_sides() -> None:
    ballots = ask_train(responses(20, 3), (), AskingSettings(count=40, overlap=3, overlap_share=0.25), FIRST)
    copies = Counter(ballot.question for ballot in ballots)
    assert Counter(copies.values()) == {3: 10, 1: 30}
    for ballot in ballots:
        first = next(other for other in ballots if other.question == ballot.question and other.copy == 0)
        expected = first.responses if ballot.copy % 2 == 0 else first.responses[::-1]
        assert ballot.responses == expected
    assert len({ballot.id for ballot in ballots}) == len(ballots)


def test_the_order_of_the_input_is_nothing_and_the_seed_is_everything() -> None:
    fresh, earlier = responses(12, 4, policy="tuned", round_=2), responses(12, 4)
    settings = AskingSettings(ballots=("comparison", "rating"))
    ballots = ask_train(fresh, earlier, settings, SECOND)
    random.Random(0).shuffle(fresh)
    random.Random(1).shuffle(earlier)
    assert ask_train(fresh, earlier, settings, SECOND) == ballots
    assert ask_train(fresh, earlier, settings, Round(2, 8, "", "")) != ballots


def test_neither_side_is_preferred() -> None:
    made = responses(300, 2)
    rank = {response.id: response.sample for response in made}
    ballots = ask_train(made, (), AskingSettings(count=300, overlap_share=0), FIRST)
    left = sum(rank[ballot.responses[0]] == 0 for ballot in ballots)
    assert 110 < left < 190, "three standard deviations around half of 300 are 124 to 176"


def test_equal_texts_are_one_response() -> None:
    made = [*responses(3, 2, text="the same"), *responses(3, 2, policy="other")]
    ballots = ask_train(made, (), AskingSettings(count=90, overlap_share=0, ballots=("comparison", "rating")), FIRST)
    asked = Counter(ballot.kind for ballot in ballots)
    assert asked == {"comparison": 9, "rating": 9}
    texts = {response.id: response.text for response in made}
    assert all(len({texts[name] for name in ballot.responses}) == len(ballot.responses) for ballot in ballots)


def test_a_fifth_of_a_later_rounds_comparisons_looks_back() -> None:
    earlier, fresh = responses(20, 4), responses(20, 4, policy="tuned", round_=2)
    before, now = {response.id for response in earlier}, {response.id for response in fresh}
    ballots = ask_train(fresh, earlier, AskingSettings(count=50, overlap_share=0), SECOND)
    back = [ballot for ballot in ballots if before & set(ballot.responses)]
    assert len(back) == 10
    assert len(ballots) == 50
    assert all(now & set(ballot.responses) for ballot in back), "one side is always new"
    prompt_of = {response.id: response.prompt for response in (*earlier, *fresh)}
    assert all({prompt_of[name] for name in ballot.responses} == {ballot.prompt} for ballot in ballots)


def test_looking_back_meets_a_response_that_was_asked_about() -> None:
    earlier, fresh = responses(20, 4), responses(20, 4, policy="tuned", round_=2)
    few = AskingSettings(count=20, overlap_share=0)
    asked = {name for ballot in ask_train(earlier, (), few, FIRST) for name in ballot.responses}
    back = {name for ballot in ask_train(fresh, earlier, few, SECOND) for name in ballot.responses}
    assert (back & {response.id for response in earlier}) <= asked


def test_an_unchanged_response_is_not_compared_with_itself() -> None:
    earlier, fresh = responses(5, 1, text="same"), responses(5, 1, policy="tuned", round_=2, text="same")
    assert ask_train(fresh, earlier, AskingSettings(), SECOND) == ()


def test_blind_ballots_pair_equal_samples_of_the_two_policies() -> None:
    reference, tuned = responses(30, 2), responses(30, 2, policy="tuned")
    ballots = ask_blind(reference, tuned, measuring(1.0, responses=2, overlap=2), FIRST)
    known = {response.id: response for response in (*reference, *tuned)}
    assert len(ballots) == 30 * 2 * 2
    for ballot in ballots:
        sides = [known[name] for name in ballot.responses]
        assert {side.policy for side in sides} == {"reference", "tuned"}
        assert sides[0].sample == sides[1].sample
        assert ballot.split == "held_out"
    left = Counter((ballot.copy, known[ballot.responses[0]].policy) for ballot in ballots)
    assert left[0, "tuned"] == left[1, "reference"], "copies alternate"
    assert 18 < left[0, "tuned"] < 42


@pytest.mark.parametrize(("share", "ballots"), [(0.0, 60), (0.25, 90), (1.0, 180)])
def test_the_share_that_overlaps_is_that_of_held_out_questions_too(share: float, ballots: int) -> None:
    """With a share of 0 one rater alone can answer everything."""
    reference, tuned = responses(30, 2), responses(30, 2, policy="tuned")
    asked = ask_blind(reference, tuned, measuring(share, responses=2, overlap=3), FIRST)
    assert len(asked) == ballots
    assert len({ballot.question for ballot in asked}) == 60


def test_blind_ballots_leave_out_equal_texts_missing_sides_and_surplus_samples() -> None:
    reference = [*responses(2, 2), *responses(1, 1, policy="reference", round_=2, text="newest")]
    tuned = [*responses(1, 2, policy="tuned", text="newest"), *responses(3, 2, policy="tuned")[4:]]
    assert ask_blind(reference, tuned, measuring(1.0, responses=1), FIRST) == ()


# --- what the reward doubts -------------------------------------------------------------------------------------------


def doubts_of(made: Sequence[Response]) -> dict[str, float]:
    """Give every response a doubt of its own, in no order."""
    drawn = random.Random(4).sample(range(1, 1 + len(made)), len(made))
    return {one.id: float(doubt) for one, doubt in zip(made, drawn, strict=True)}


def test_what_is_doubted_most_is_asked_first_and_by_several() -> None:
    made = responses(10, 4, round_=2)
    doubts = doubts_of(made)
    asking = AskingSettings(ballots=("comparison", "rating"), count=10, overlap=3, overlap_share=0.2)
    ballots = ask_train(made, (), asking, SECOND, (), doubts)
    worst = {
        prompt: max((one for one in made if one.prompt == prompt), key=lambda one: doubts[one.id])
        for prompt in {one.prompt for one in made}
    }
    assert all(worst[ballot.prompt].id in ballot.responses for ballot in ballots)
    of_ballot = [max(doubts[id_] for id_ in ballot.responses) for ballot in ballots]
    assert of_ballot == sorted(of_ballot, reverse=True)
    copies = Counter(ballot.question for ballot in ballots)
    assert {question[2] for question, n in copies.items() if n == 3} == set(
        sorted(worst, key=lambda prompt: -doubts[worst[prompt].id])[:2]
    )


def test_few_questions_go_to_the_prompts_that_are_doubted_most() -> None:
    made = responses(10, 5, round_=2)
    doubts = doubts_of(made)
    rank = sorted({one.prompt for one in made}, key=lambda one: -max(doubts[of.id] for of in made if of.prompt == one))
    for kind in ("comparison", "rating", "ranking"):
        asking = AskingSettings(ballots=(kind,), count=4, overlap_share=0)
        ballots = ask_train(made, (), asking, SECOND, (), doubts)
        assert [ballot.prompt for ballot in ballots] == rank[:4]


def test_without_doubts_or_with_equal_ones_the_order_is_drawn() -> None:
    made, asking = responses(10, 4), AskingSettings(ballots=("comparison", "rating", "ranking"), count=15)
    drawn = ask_train(made, (), asking, FIRST)
    assert ask_train(made, (), asking, FIRST, (), {one.id: 0.3 for one in made}) == drawn
