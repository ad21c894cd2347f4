"""Files of judgments by themselves and in a project: what is weighed, what is taken in, what is written."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from expound import api
from expound.errors import InputError, JudgmentError
from expound.feedback.verdicts import settle
from expound.files import write_file
from expound.project import open_project
from expound.records import Check, Comparison, Judgment, Rating, Score, Skip
from expound.reporting.progress import PlainProgress
from expound.store.admission import Admission
from expound.tasks.imported import pseudonym, whole_text
from expound.tasks.judgments import judgment_lines, read_judgments
from tests.support.projects import Shape, make_project
from tests.support.raters import logistic_panel

QUIET = PlainProgress(io.StringIO())
SNOW = {"prompt": "Why is snow white?", "chosen": "Its crystals scatter light."}
PAIRS: Sequence[dict[str, object]] = (
    {**SNOW, "rejected": "It is cold.", "rater": "anna"},
    {**SNOW, "rejected": "It is.", "rater": "ben"},
    {"prompt": "Why is the sea salt?", "chosen": "Rivers bring salt.", "rejected": "Fish.", "rater": "anna", "note": 1},
    {"prompt": "Why?", "chosen": "Its dye is.", "rejected": "Paint.", "split": "held_out", "rater": "anna"},
)


def file_of(path: Path, *judgments: Judgment) -> Path:
    write_file(path, "".join(f"{line}\n" for line in judgment_lines(judgments)))
    return path


def rows_of(path: Path, *rows: object) -> Path:
    write_file(path, "".join(f"{json.dumps(row)}\n" for row in rows))
    return path


# --- settled ------------------------------------------------------------------------------------------------------


def test_the_raters_of_a_file_are_weighed_and_the_verdicts_written(tmp_path: Path) -> None:
    panel = logistic_panel((2, 1, 1, 1, -1), prompts=60, votes=5, seed=3)
    path, out = file_of(tmp_path / "said.jsonl", *panel.judgments), tmp_path / "verdicts.jsonl"
    found = api.settle_file(path, out=out, progress=QUIET)
    assert panel.pair_accuracy(found.settlement) > panel.majority_accuracy() + 0.03
    assert (found.format, found.judgments, dict(found.kinds)) == ("judgments", 1200, {"comparison": 1200})
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    pairs = [line for line in lines if "pair" in line]
    unlike = sum((round(line["p_left"], 9) - 0.5) * (round(line["plain"], 9) - 0.5) <= 0 for line in pairs)
    (beside,) = found.beside
    assert len(beside.differences) == unlike > 0
    assert beside.sentence.startswith(f"{len(pairs)} pairs by 'overall': {len(pairs) - unlike} (")
    assert {line["rater"] for line in lines if "rater" in line} == {f"r0{place}" for place in range(5)}
    assert len([line for line in lines if "value" in line]) == 240
    assert re.search(r"Aggregation: each rater weighed .* The way is fixed, not chosen", str(found))
    assert f"and {unlike - 5} more" in str(found)


def test_what_is_held_out_or_says_nothing_is_not_weighed(tmp_path: Path) -> None:
    said = [
        Check(rater=f"r{place}", response=f"a{item}", value="yes" if item % 2 else "no", criterion="true")
        for place in range(3)
        for item in range(6)
    ]
    others = (replace(said[0], split="held_out"), Skip(rater="r0", reason=""), Score(rater="f", response="a", value=1))
    path = file_of(tmp_path / "said.jsonl", *said, *others)
    found = api.settle_file(path, progress=QUIET)
    assert (
        found.settlement.checks
        == api.settle_file(file_of(tmp_path / "b.jsonl", *said), progress=QUIET).settlement.checks
    )
    assert dict(found.left_out.counts) == {"held-out judgments": 1, "skips": 1, "scores": 1}
    assert "Left out: 1 held-out judgments, 1 scores, 1 skips." in str(found)
    assert "6 labels of 'true': 6 (100 %) as plain counting" in str(found)
    assert "checks by each rater's own confusions" in found.aggregation
    assert "too sure" in found.aggregation


def test_rated_responses_are_compared_by_their_order(tmp_path: Path) -> None:
    said = [
        Rating(rater=f"r{place}", response=f"a{item}", value=1 + (item + place // 3) % 5)
        for place in range(4)
        for item in range(5)
    ]
    found = api.settle_file(file_of(tmp_path / "said.jsonl", *said), progress=QUIET)
    assert "5 responses rated by 'overall': their order and that of the mean" in str(found)


def test_a_correction_supersedes(tmp_path: Path) -> None:
    first = Check(rater="r", response="a", value="no", ballot="b")
    found = api.settle_file(
        file_of(tmp_path / "a.jsonl", first, replace(first, value="yes", revision=1)), progress=QUIET
    )
    assert [one.label for one in found.settlement.checks] == ["yes"]
    assert dict(found.left_out.counts) == {"corrected": 1}


def test_what_cannot_be_settled_is_told(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", Skip(rater="r", reason=""))
    with pytest.raises(JudgmentError, match=r"a\.jsonl holds nothing to weigh \(1 skips\)\. Give comparisons"):
        api.settle_file(path, progress=QUIET)
    with pytest.raises(JudgmentError, match=r"a\.jsonl is there already"):
        api.settle_file(path, out=path, progress=QUIET)
    with pytest.raises(JudgmentError, match=r"there is no format 'pair'\. Did you mean 'pairs'\?"):
        api.settle_file(path, format_="pair", progress=QUIET)
    with pytest.raises(JudgmentError, match=r"no field is asked for as 'lef'\. Did you mean 'left'\?"):
        api.settle_file(path, fields={"lef": "one"}, progress=QUIET)
    with pytest.raises(JudgmentError, match=r"'chosen' is missing"):
        api.settle_file(path, format_="pairs", progress=QUIET)


# --- taken in -----------------------------------------------------------------------------------------------------


@pytest.fixture
def people(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return make_project(tmp_path / "people", tiny_llama_folder, Shape(panel="people"))


def judgments_in(folder: Path) -> tuple[Judgment, ...]:
    with open_project(folder, QUIET, lock=False) as project:
        return project.book.judgments()


def test_a_file_brings_what_it_speaks_of_and_nothing_twice(people: Path, tmp_path: Path) -> None:
    path = rows_of(tmp_path / "pairs.jsonl", *PAIRS)
    found = api.ingest(people, path, progress=QUIET)
    assert (found.format, found.prompts, found.responses, found.raters) == ("pairs", 3, 7, 2)
    assert (found.judgments, found.held_out, found.known) == (4, 1, 0)
    assert "Of the new judgments 1 about held-out prompts: nothing learns from those." in str(found)
    before = judgments_in(people)
    renamed = rows_of(tmp_path / "other.jsonl", *reversed(PAIRS))
    for again in (path, renamed):
        found = api.ingest(people, again, progress=QUIET)
        assert (found.prompts, found.responses, found.raters, found.judgments, found.known) == (0, 0, 0, 0, 4)
    assert judgments_in(people) == before
    assert Counter((one.split, one.source, one.round) for one in before) == {
        ("train", "people", 0): 3,
        ("held_out", "people", 0): 1,
    }
    assert {one.meta.get("note") for one in before} == {None, 1}
    with open_project(people, QUIET, lock=False) as project:
        assert {one.policy for one in project.book.responses()} == {"file:pairs"}
        assert {(one.name, one.active) for one in project.book.raters()} == {
            ("anna (from a file)", False),
            ("ben (from a file)", False),
        }


def test_a_prompt_of_the_project_keeps_its_split(people: Path, tmp_path: Path) -> None:
    """What the file calls by the words of a held-out prompt never teaches, before the first round as after it."""
    with open_project(people, QUIET, lock=False) as project:
        (held, *_), (train, *_) = (
            [one for one in project.load_prompts() if one.split == s] for s in ("held_out", "train")
        )
    rows = [{"prompt": whole_text(one), "chosen": "So.", "rejected": "No."} for one in (held, train)]
    found = api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *rows), progress=QUIET)
    assert (found.judgments, found.held_out) == (2, 1)
    assert {one.prompt: one.split for one in judgments_in(people)} == {held.id: "held_out", train.id: "train"}
    with open_project(people, QUIET, lock=False) as project:
        assert project.book.prompts() == (train, held)


def test_ratings_rankings_and_checks_come_in_and_what_nobody_reads_is_told(people: Path, tmp_path: Path) -> None:
    api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)
    (one, two, *_) = [said for said in judgments_in(people) if isinstance(said, Comparison) and said.split == "train"]
    ids = (one.left, one.right)
    path = rows_of(
        tmp_path / "own.jsonl",
        {"kind": "rating", "rater": "cleo", "response": ids[0], "value": 4, "criterion": "clarity"},
        {"kind": "rating", "rater": "cleo", "response": ids[0], "value": 4, "criterion": "clarity"},
        {
            "kind": "ranking",
            "rater": "cleo",
            "tiers": [[ids[0]], [ids[1]]],
            "gold": [[ids[1]], [ids[0]]],
            "ballot": "b",
        },
        {"kind": "check", "rater": "bot", "source": "judge", "response": ids[0], "value": "yes", "split": "held_out"},
        {"kind": "score", "rater": "f", "source": "function", "response": ids[0], "value": 0.5},
        {"kind": "edit", "rater": "cleo", "response": ids[0], "text": "better"},
        {"kind": "rating", "rater": "cleo", "response": "unknown", "value": 4},
        {"kind": "rating", "rater": "sim", "source": "simulated", "response": ids[0], "value": 4},
        {"kind": "ranking", "rater": "cleo", "tiers": [[ids[0]], [_of_another_prompt(people, one)]]},
        {"kind": "skip", "rater": "cleo", "reason": ""},
    )
    found = api.ingest(people, path, progress=QUIET)
    assert (found.judgments, found.held_out, found.raters) == (4, 1, 2)
    assert dict(found.left_out.counts) == {
        "across_prompts": 1,
        "edits": 1,
        "scores": 1,
        "simulated_judgments": 1,
        "skips": 1,
        "without_text": 1,
    }
    assert api.ingest(people, path, progress=QUIET).known == 4
    told = {type(said).__name__: said for said in judgments_in(people)}
    assert told["Ranking"].meta == {"ballot": "b", "round": 1}
    assert told["Check"].source == "judge"
    assert two in judgments_in(people)


def _of_another_prompt(folder: Path, said: Comparison) -> str:
    with open_project(folder, QUIET, lock=False) as project:
        return next(one.id for one in project.book.responses() if one.prompt != said.prompt)


def test_texts_that_are_one_are_not_compared(people: Path, tmp_path: Path) -> None:
    row = {"fields": {"prompt": "Why?", "left": "So.", "right": "So. "}, "responses": {"q": [{"value": "left"}]}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row, {**row, "fields": {"prompt": "Why?", "left": "So.", "right": "No."}}]), "utf-8")
    found = api.ingest(people, path, progress=QUIET)
    assert (found.judgments, dict(found.left_out.counts)) == (1, {"equal_texts": 1})


@pytest.mark.parametrize(("choices", "told"), [([-1] * 6, True), ([-1] * 5, False), ([-1] * 5 + [1], False)])
def test_comparisons_that_all_chose_one_side_are_told(choices: list[int], told: bool, tmp_path: Path) -> None:
    said = [Comparison(rater="r", left=f"a{n}", right=f"b{n}", choice=choice) for n, choice in enumerate(choices)]
    found = api.settle_file(file_of(tmp_path / "own.jsonl", *said), progress=QUIET)
    assert ("In all 6 comparisons the left response was preferred" in str(found)) is told


def test_columns_that_may_name_the_rater_are_told(tmp_path: Path) -> None:
    rows = [
        {**SNOW, "rejected": "It is cold.", "annotator": "anna"},
        {**SNOW, "rejected": "It is.", "annotator": "ben"},
    ]
    told = str(api.settle_file(rows_of(tmp_path / "pairs.jsonl", *rows), progress=QUIET))
    assert "One rater: nothing tells how reliable they are." in told
    assert "No line has a 'rater', and nothing reads annotator: rename what says who judged." in told
    named = [{**row, "rater": row["annotator"]} for row in rows]
    told = str(api.settle_file(rows_of(tmp_path / "named.jsonl", *named), progress=QUIET))
    assert "One rater" not in told
    assert "nothing reads" not in told


def test_what_nobody_in_particular_said_is_taken_as_often_as_it_is_said(people: Path, tmp_path: Path) -> None:
    """A file without raters is known by what it says, whatever it is called; what is new in it is taken."""
    pair, other = ({**SNOW, "rejected": rejected} for rejected in ("It is cold.", "It is."))
    assert api.ingest(people, rows_of(tmp_path / "pairs.jsonl", pair, pair), progress=QUIET).judgments == 2
    again = api.ingest(people, rows_of(tmp_path / "backup.jsonl", pair, pair), progress=QUIET)
    assert (again.judgments, again.known) == (0, 2)
    turned = {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
    (tmp_path / "pairs.jsonl").unlink()
    more = api.ingest(people, rows_of(tmp_path / "pairs.jsonl", pair, pair, pair, other, turned), progress=QUIET)
    assert (more.judgments, more.known) == (3, 2)


def test_pairs_with_odds_are_no_votes(people: Path, tmp_path: Path) -> None:
    path = rows_of(tmp_path / "pairs.jsonl", {**PAIRS[0], "p": 0.1}, PAIRS[1])
    assert api.settle_file(path, progress=QUIET).left_out.counts == {"pairs with odds": 1}
    found = api.ingest(people, path, progress=QUIET)
    assert (found.judgments, dict(found.left_out.counts)) == (1, {"pairs_with_odds": 1})


def test_people_are_never_mixed_with_a_simulated_panel(tiny_llama_folder: Path, tmp_path: Path) -> None:
    simulated = make_project(tmp_path / "simulated", tiny_llama_folder)
    with pytest.raises(JudgmentError, match=r"holds no judgment .*\(4 people judgments\)"):
        api.ingest(simulated, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)


def test_the_prompts_of_the_book_stay_as_they_are(people: Path, tmp_path: Path) -> None:
    api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)
    with open_project(people, QUIET, lock=False) as project:
        before = project.book.prompts()
    rows = [{"text": whole_text(prompt), "meta": {"new": 1}} for prompt in before]
    rows_of(people / "prompts" / "changed.jsonl", *rows)
    api.ingest(people, rows_of(tmp_path / "more.jsonl", {**PAIRS[0], "rater": "cleo"}), progress=QUIET)
    with open_project(people, QUIET, lock=False) as project:
        assert project.book.prompts() == before


def test_a_file_without_a_place_is_refused_whole(people: Path, tmp_path: Path) -> None:
    path = file_of(tmp_path / "own.jsonl", Rating(rater="r", response="unknown", value=3))
    with pytest.raises(JudgmentError, match=r"holds no judgment that has a place in .*\(1 without text\)\. Give"):
        api.ingest(people, path, progress=QUIET)


# --- written ------------------------------------------------------------------------------------------------------


def test_the_judgments_of_a_project_are_written_under_pseudonyms_and_read_back(people: Path, tmp_path: Path) -> None:
    api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)
    with open_project(people, QUIET, lock=False) as project:
        key = Admission(project.book).pseudonym_key()
        assert Admission(project.book).pseudonym_key() == key
    said = judgments_in(people)
    out = api.export(people, tmp_path / "out.jsonl", progress=QUIET)
    assert read_judgments(out) == tuple(replace(one, rater=pseudonym(one.rater, key)) for one in said)
    assert read_judgments(api.export(people, tmp_path / "out.csv", progress=QUIET)) == read_judgments(out)
    named = read_judgments(api.export(people, tmp_path / "named.jsonl", names=True, progress=QUIET))
    assert {one.rater for one in named} == {"anna", "ben"}
    for back in (
        out,
        tmp_path / "named.jsonl",
        api.export(people, tmp_path / "p.jsonl", format_="pairs", progress=QUIET),
    ):
        assert api.ingest(people, back, progress=QUIET).known == 4
    assert judgments_in(people) == said


def test_losses_are_told(people: Path, tmp_path: Path) -> None:
    api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)
    told = io.StringIO()
    api.export(people, tmp_path / "u.jsonl", format_="unpaired", progress=PlainProgress(told))
    assert "u.jsonl cannot hold everything. Left out: 4 comparisons." in told.getvalue()


def test_what_the_panel_thinks_is_written_once_it_is_settled(people: Path, tmp_path: Path) -> None:
    api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)
    with pytest.raises(InputError, match=r"is not settled yet\. Run 'expound settle"):
        api.export(people, tmp_path / "s.jsonl", format_="pairs", settled=True, progress=QUIET)
    with open_project(people, QUIET) as project:
        project.book.add(settle(project.book.judgments("train"), 1))
    out = api.export(people, tmp_path / "s.jsonl", format_="pairs", settled=True, progress=QUIET)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {line["chosen"] for line in lines} == {"Its crystals scatter light.", "Rivers bring salt."}
    assert all(line["p"] > 0.5 and "source" not in line for line in lines)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("out.json", {}, r"out\.json may be of the format label-studio or argilla\. Say which"),
        ("out.csv", {"format_": "pairs"}, r"does not end in '\.csv'\. Name the file out\.jsonl\."),
        ("out", {"format_": "table"}, r"does not end in ''\. Name the file out\.csv\."),
        ("out", {"names": True}, r"out is no file of judgments\. Name one that ends in"),
        ("out.jsonl", {"settled": True}, r"judgments holds what raters said\. Verdicts go into pairs"),
        ("out.jsonl", {"format_": "several"}, r"'several' can be read and not written"),
        ("out.jsonl", {"format_": "pair"}, r"there is no format 'pair'"),
        ("pairs.jsonl", {}, r"pairs\.jsonl is there already"),
    ],
)
def test_what_cannot_be_written(
    people: Path, tmp_path: Path, name: str, options: dict[str, str], sentence: str
) -> None:
    api.ingest(people, rows_of(tmp_path / "pairs.jsonl", *PAIRS), progress=QUIET)
    with pytest.raises(InputError, match=sentence):
        api.export(people, tmp_path / name, progress=QUIET, **options)  # type: ignore[arg-type]


def test_a_project_without_judgments_has_none_to_write(people: Path, tmp_path: Path) -> None:
    with pytest.raises(JudgmentError, match=r"people holds no judgment yet\. Run"):
        api.export(people, tmp_path / "a.jsonl", progress=QUIET)
