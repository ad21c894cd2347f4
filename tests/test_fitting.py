"""A reward from a file: which judgments teach, how far each is believed, what is measured, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expound.errors import InputError, JudgmentError
from expound.fitting import TextReward, Told, fit_text, judged_of, pairs_of, read_told
from expound.models.texts import Said
from expound.records import Comparison, Ranking, Rating
from expound.reporting.progress import PlainProgress
from expound.reward.fit import predict
from expound.reward.linear import fit_judged

GOOD, BAD = ("rope", "wind", "pier"), ("bees", "hive", "queen")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPOUND_CACHE", str(tmp_path_factory.mktemp("cache")))


def pair(number: int, **more: object) -> dict[str, object]:
    """Return a pair whose better text speaks of the ferry; which of the two is longer is even."""
    generator = np.random.default_rng(number)
    good, bad = (
        " ".join(generator.choice(kind, 4 + extra)) for kind, extra in ((GOOD, number % 2), (BAD, 1 - number % 2))
    )
    return {"prompt": f"Why {number}?", "chosen": f"The {good}.", "rejected": f"The {bad}.", **more}


def written(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def fitted(model: Path, file: Path, held_out: Path | None = None) -> tuple[TextReward, str]:
    """Return the reward, and what was said on the way."""
    said = io.StringIO()
    return fit_text(file, held_out, str(model), PlainProgress(said)), said.getvalue()


# --- the whole way ------------------------------------------------------------------------------------------------


def test_a_reward_is_learnt_from_text_and_measured_on_other_prompts(tiny_llama_folder: Path, tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", map(pair, range(60)))
    held_out = written(tmp_path / "other.jsonl", map(pair, range(50, 90)))
    reward, said = fitted(tiny_llama_folder, train, held_out)
    assert reward.accuracy.share > 0.95 > 0.75 > reward.length.share
    assert (reward.judgments, reward.prompts, reward.held_out_prompts, reward.accuracy.pairs) == (50, 50, 40, 40)
    assert "10 prompts are in both files" in said
    assert reward.raters == 0
    assert f"The reward orders {reward.accuracy.share:.1%}" in str(reward)
    assert "It is better than length: +" in str(reward)


def test_a_file_alone_holds_a_fifth_of_its_prompts_out_or_what_its_lines_say(
    tiny_llama_folder: Path, tmp_path: Path
) -> None:
    alone, said = fitted(tiny_llama_folder, written(tmp_path / "a.jsonl", map(pair, range(60))))
    assert 4 <= alone.held_out_prompts <= 20
    assert alone.prompts + alone.held_out_prompts == 60
    assert f"{alone.held_out_prompts} of 60 prompts" in said
    split = [pair(number, split="held_out" if number % 3 == 0 else "train") for number in range(60)]
    named, _ = fitted(tiny_llama_folder, written(tmp_path / "b.jsonl", split))
    assert (named.prompts, named.held_out_prompts) == (40, 20)


def test_what_is_held_out_never_teaches(tiny_llama_folder: Path, tmp_path: Path) -> None:
    """Every held-out pair is turned round: the scores of its texts stay, and what was right is wrong."""
    train = written(tmp_path / "train.jsonl", map(pair, range(40)))
    rows = [pair(number) for number in range(40, 70)]
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    one, _ = fitted(tiny_llama_folder, train, written(tmp_path / "one.jsonl", rows))
    two, _ = fitted(tiny_llama_folder, train, written(tmp_path / "two.jsonl", turned))
    assert one.scores == two.scores
    assert one.penalty == two.penalty
    assert one.accuracy.share == pytest.approx(1 - two.accuracy.share)


# --- who is believed ----------------------------------------------------------------------------------------------


def panel(judgments: Iterable[Comparison | Ranking | Rating]) -> Told:
    """Return judgments of responses named "PROMPT-PLACE"."""
    told = tuple(judgments)
    names = {f"p{prompt}-{place}" for prompt in range(120) for place in range(2)}
    return Told("panel.jsonl", told, {name: Said(name.partition("-")[0], name) for name in sorted(names)})


def test_an_inverted_rater_teaches_as_much_as_an_honest_one() -> None:
    """Two of three are right in nine of ten pairs, the third is wrong in as many."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(240, 6))
    quality = {f"p{row // 2}-{row % 2}": features[row, 0] for row in range(240)}
    said = []
    for prompt in range(90):
        left, right = f"p{prompt}-0", f"p{prompt}-1"
        toward_left = quality[left] > quality[right]
        for rater, honest in (("anna", True), ("ben", True), ("carl", False)):
            is_left = toward_left == (honest == (generator.random() < 0.9))
            said.append(Comparison(rater=rater, left=left, right=right, choice=-1 if is_left else 1, ties=False))
    told = panel(said)
    texts = [Said(f"p{row // 2}", f"p{row // 2}-{row % 2}") for row in range(240)]
    judged = judged_of(told, texts)
    of_carl = judged.discrimination[judged.discrimination < 0]
    assert len(of_carl) == 90, "he is turned round"
    learnt = fit_judged(features, judged, [one.prompt for one in texts], seed=0)
    rewards, _ = predict(learnt.heads, features)
    gaps = np.array([quality[f"p{prompt}-0"] - quality[f"p{prompt}-1"] for prompt in range(90, 120)])
    found = np.array([rewards[2 * prompt] - rewards[2 * prompt + 1] for prompt in range(90, 120)])
    assert (np.sign(gaps) == np.sign(found)).mean() > 0.85


def test_pairs_with_odds_or_weights_are_taken_as_they_stand(tmp_path: Path) -> None:
    rows = [pair(0, p=0.75, rater="anna"), pair(1, weight=0.5, rater="anna"), pair(2)]
    told = read_told(written(tmp_path / "pairs.jsonl", rows), PlainProgress(io.StringIO()))
    judged = judged_of(told, told.said())
    assert judged.weight.tolist() == [0.75, 0.5, 1.0, 0.25, 0.0, 0.0]
    assert judged.discrimination.tolist() == [1.0] * 6
    assert set(judged.low.tolist()) == {0.0}


def test_ratings_rankings_and_ties_are_rows_too() -> None:
    said: list[Comparison | Ranking | Rating] = []
    for prompt in range(20):
        one, two = f"p{prompt}-0", f"p{prompt}-1"
        said += [Rating(rater="anna", response=one, value=4), Rating(rater="anna", response=two, value=1 + prompt % 4)]
        said += [Ranking(rater="ben", tiers=((one,), (two,))), Comparison(rater="ben", left=one, right=two, choice=0)]
    told = panel(said)
    judged = judged_of(told, told.said())
    assert len(judged.weight) == 80
    assert (judged.second == len(told.said())).sum() == 40, "a rating stands against nothing"
    assert [(better.text, worse.text) for better, worse in pairs_of(told)][:1] == [("p0-0", "p0-1")]
    assert len(list(pairs_of(told))) == 20 + 15, "every ranking, and ratings that differ"


def test_even_odds_are_no_pair_and_small_ones_turn_it_round(tmp_path: Path) -> None:
    rows = [pair(0, p=0.5), pair(1, p=0.2), pair(2, p=0.9)]
    told = read_told(written(tmp_path / "pairs.jsonl", rows), PlainProgress(io.StringIO()))
    assert [better.text for better, _ in pairs_of(told)] == [rows[1]["rejected"], rows[2]["chosen"]]


def test_a_criterion_is_measured_where_nothing_speaks_of_the_whole() -> None:
    one = Comparison(rater="anna", left="p0-0", right="p0-1", choice=-1, criterion="clarity")
    assert len(list(pairs_of(panel([one])))) == 1
    overall = replace(one, criterion="overall", choice=1)
    assert [better.text for better, _ in pairs_of(panel([one, overall]))] == ["p0-1"]


# --- what is refused ----------------------------------------------------------------------------------------------

ALONE: Mapping[str, tuple[list[dict[str, object]], str]] = {
    "one prompt": ([pair(0)], "too few prompts \\(1\\) to hold one in 5 out. Name a file of other prompts"),
    "no texts": (
        [{"kind": "comparison", "rater": "a", "left": "x", "right": "y", "choice": 1}],
        "names responses \\('x'\\) without their texts. Give preference pairs",
    ),
    "no order": ([{"prompt": "Why?", "completion": "So.", "label": True}], "holds no comparison, ranking or rating"),
    "odds": ([pair(number, p=1.5) for number in range(30)], "'p' is 1.5 in a pair about 'Why .*from 0 to 1"),
    "weight": ([pair(number, weight=-1) for number in range(30)], "'weight' is -1 in a pair .* 0 or more"),
    "words": ([pair(number, p="often") for number in range(30)], "'p' is often in a pair"),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_file_that_cannot_teach_is_refused_in_a_sentence(name: str, tmp_path: Path, tiny_llama_folder: Path) -> None:
    rows, told = ALONE[name]
    with pytest.raises(JudgmentError, match=told):
        fitted(tiny_llama_folder, written(tmp_path / "file.jsonl", rows))


def test_files_that_leave_nothing_to_learn_or_to_measure_are_refused(tmp_path: Path, tiny_llama_folder: Path) -> None:
    file = written(tmp_path / "file.jsonl", map(pair, range(5)))
    with pytest.raises(JudgmentError, match=r"No prompt of .*file.jsonl is left to learn from"):
        fitted(tiny_llama_folder, file, file)
    even = written(tmp_path / "even.jsonl", (pair(number, p=0.5) for number in range(9, 12)))
    with pytest.raises(JudgmentError, match=r"even.jsonl prefers no response to another"):
        fitted(tiny_llama_folder, file, even)
    with pytest.raises(InputError, match="could not be read"):
        fitted(tiny_llama_folder, file, tmp_path / "nowhere.jsonl")
