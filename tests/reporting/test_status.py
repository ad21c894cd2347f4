from __future__ import annotations

from pathlib import Path

import pytest

from expound.records import Answer, Rater, Skip
from expound.reporting.status import AtWork, describe
from expound.settings import parse
from tests.reporting.story import Outcome, Story, say


def said(story: Story, folder: Path = Path("demo")) -> str:
    return describe(story.book, story.settings, folder)


def test_without_prompts_it_says_where_to_put_them(tmp_path: Path) -> None:
    text = said(Story(), tmp_path)
    assert text == (f"There are no prompts: nothing in {tmp_path} matches 'prompts/*'. Next: put a prompt file there.")


def test_with_prompts_and_no_round_the_next_action_is_run(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.jsonl").touch()
    assert said(Story(), tmp_path) == f"No round has begun. Next: expound run {tmp_path}"


def test_sampling() -> None:
    story = Story("people")
    story.begin()
    assert said(story) == "Round 1: begun with 4 train prompts, nothing sampled yet. Next: expound sample demo"
    story.sample(prompts=3)
    assert said(story) == "Round 1: sampling has reached 3 of 4 train prompts. Next: expound sample demo"
    story.sample()
    assert said(story) == "Round 1: 8 responses to 4 train prompts, no ballots yet. Next: expound ask demo"


def test_waiting_for_people_names_how_far_each_is() -> None:
    story = Story("people")
    story.begin()
    story.sample()
    story.ask()
    story.answer("train", 6)
    assert said(story) == (
        "Round 1: 6 of 12 comparisons are missing; careful is at 2, noisy is at 1, harsh is at 1, "
        "side-biased is at 1, adversarial is at 1. Next: expound run demo"
    )


def test_a_running_site_and_a_process_at_work_are_named_in_place_of_a_command() -> None:
    story, site = Story("people"), "http://192.168.1.20:8800"
    assert describe(story.book, story.settings, Path(), AtWork(site=site)).startswith(f"The rating site is at {site}. ")
    story.begin()
    story.sample()
    story.ask()
    served = describe(story.book, story.settings, Path("demo"), AtWork(site=site))
    assert served.startswith(f"The rating site is at {site}. Round 1: 12 of 12 comparisons are missing; ")
    assert served.endswith("Next: expound run demo"), "which goes on with that site"
    waited_for = describe(story.book, story.settings, Path("demo"), AtWork("4711", site))
    assert waited_for.endswith("Process 4711 is at work.")
    assert "Next:" not in waited_for


def test_commands_can_be_pasted() -> None:
    story = Story("people")
    story.begin()
    assert said(story, Path("my demo")).endswith("Next: expound sample 'my demo'")
    assert said(story, Path()).endswith("Next: expound sample")


def test_waiting_for_people_when_nobody_is_invited() -> None:
    story = Story("people")
    story.begin()
    story.sample()
    story.ask()
    story.book.raters = lambda: ()  # type: ignore[method-assign]
    assert "12 of 12 comparisons are missing; nobody is invited yet (expound invite demo NAME)" in said(story)


def test_a_simulated_panel_is_called_simulated_and_is_not_waited_for() -> None:
    story = Story()
    story.begin()
    story.sample()
    story.ask()
    story.answer("train", 10)
    assert said(story) == (
        "Round 1 (simulated panel): the simulated raters owe 2 of 12 comparisons. Next: expound run demo"
    )


def judged_by(kinds: str) -> Story:
    story = Story("people")
    judge = '[judge]\nmodel = "m"\nendpoint = "http://127.0.0.1:1/v1"\n'
    head = '[project]\nname = "a"\ntask = "answer"\nmodel = "m"\n'
    story.settings = parse(f"{head}[panel]\nkinds = {kinds}\n{judge}")
    story.begin()
    story.sample()
    story.ask()
    story.book.add(Rater("judge-m", "m", "judge"))
    return story


def judge_all(story: Story, skips: int = 0) -> None:
    """Let the judge deal with one copy of every question, and skip some."""
    first = {ballot.question: ballot for ballot in reversed(story.book.ballots("train"))}
    for place, ballot in enumerate(first.values()):
        skip = Skip(rater="judge-m", ballot=ballot.id, source="judge", reason="malformed", comment="Well.")
        said = (
            Answer(f"s{place}", ballot.id, "judge-m", (skip,)) if place < skips else say(ballot, "judge-m", 1, "judge")
        )
        story.book.answer([said])


def test_a_judge_alone_owes_questions_and_not_their_copies_and_a_skip_is_no_debt() -> None:
    story = judged_by('["judge"]')
    assert said(story) == "Round 1: the judge owes 4 of 4 comparisons. Next: expound run demo"
    judge_all(story, skips=1)
    assert "every ballot has its answer" in said(story)


def test_people_are_waited_for_after_the_judge_and_whatever_it_said() -> None:
    story = judged_by('["people", "judge"]')
    assert "the judge owes 4 of 4 comparisons. Next: expound run" in said(story)
    judge_all(story)
    assert said(story).startswith("Round 1: 12 of 12 comparisons are missing; careful is at 0, noisy is at 0, ")
    assert "m is at" not in said(story)
    story.answer("train")
    assert "every ballot has its answer" in said(story)


def test_settling_fitting_and_tuning(tmp_path: Path) -> None:
    story = Story()
    story.begin()
    story.sample()
    story.ask()
    story.answer("train")
    assert "every ballot has its answer" in said(story)
    assert said(story).endswith("Next: expound settle demo")
    story.settle()
    assert "settled, with a verdict on 8 responses from 5 raters. Next: expound fit demo" in said(story)
    story.fit()
    assert "orders 75% of 412 left-out pairs like the raters, length alone 56%. Next: expound tune demo" in said(story)
    metrics = tmp_path / "rounds" / "001" / "metrics.jsonl"
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"update": 1}\n{"update": 2}\n{"update": 3}\n', encoding="utf-8")
    assert "tuning, 3 of 8 updates done. Next: expound tune" in said(story, tmp_path)
    metrics.write_text('{"update": 1, "updates": 17}\n', encoding="utf-8")
    assert "tuning, 1 of 17 updates done. Next: expound tune" in said(story, tmp_path)


def test_measuring() -> None:
    story = Story("people")
    story.begin()
    story.tune()
    assert "tuned; nobody has compared it on held-out prompts yet. Next: expound measure demo" in said(story)
    story.compare()
    story.answer("held_out", 23)
    assert "1 of 24 held-out comparisons is missing; careful is at 5" in said(story)
    story.answer("held_out")
    assert "every held-out comparison has its answer, nothing is decided yet. Next: expound measure" in said(story)


@pytest.mark.parametrize("outcome", ["better", "not_better", "too_little"])
def test_a_decided_round_gives_its_sentence_and_the_report(outcome: Outcome) -> None:
    story = Story()
    story.walk(outcome)
    text = said(story)
    assert text.startswith(f"Round 1 (simulated panel) of at most 5 is decided. {outcome}: simulated raters preferred")
    assert text.endswith("Report: demo/report.html")
    assert text.count("expound run") == text.count("another round")


def test_after_the_last_round_there_is_only_the_report() -> None:
    story = Story("people", max_rounds=1)
    story.walk()
    text = said(story)
    assert text.startswith("Round 1 of at most 1 is decided.")
    assert text.endswith("Report: demo/report.html")
