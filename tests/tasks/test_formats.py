"""A file tells its format by its keys; raters leave under pseudonyms; damage is an error and never a traceback."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from expound.errors import InputError, JudgmentError
from expound.records import Comparison, Judgment, Rating
from expound.tasks.formats import FORMATS, Format, export, guess, import_file
from expound.tasks.imported import Feedback, Lost, Reading, pseudonym
from expound.tasks.judgments import judgment_lines, read_judgments
from expound.tasks.rows import Row, read_rows
from tests.support.feedback import GRASS, LAZY, NAME, PROMPTS, RESPONSES, SUGAR
from tests.support.fuzz import damaged

FILES = Path(__file__).parent / "files"
DATA = Path(__file__).parents[3] / "shared" / "data"
KNOWN: dict[str, Format] = {
    "judgments.jsonl": "judgments",
    "judgments.csv": "judgments",
    "pairs.jsonl": "pairs",
    "pairs_implicit.jsonl": "pairs",
    "unpaired.jsonl": "unpaired",
    "scalar.jsonl": "scalar",
    "several.jsonl": "several",
    "completions.jsonl": "several",
    "label_studio.json": "label-studio",
    "argilla.json": "argilla",
    "argilla_1.json": "argilla",
}


def reading(name: str) -> Reading:
    return Reading(NAME, prompt="question", left="one", right="two") if name == "label_studio.json" else Reading(NAME)


def test_every_example_is_known_by_its_keys() -> None:
    assert {path.name for path in FILES.iterdir()} == set(KNOWN)
    assert {name: import_file(FILES / name, reading(name))[0] for name in KNOWN} == KNOWN


def test_a_mixture_is_refused() -> None:
    rows = [Row({"chosen": "a", "rejected": "b"}, "f: line 1"), Row({"kind": "skip"}, "f: line 2")]
    with pytest.raises(
        JudgmentError, match=r"f: line 2: this looks like 'judgments', the first line like 'pairs'\. Give"
    ):
        guess(rows)


@pytest.mark.parametrize("columns", [{}, {"prompt": "a", "response": "b"}, {"prompt": "a", "chosen": "b"}])
def test_unknown_keys_are_refused(columns: dict[str, str]) -> None:
    with pytest.raises(
        JudgmentError, match=r"f: line 1: no format has the keys .*\. Known are kind; chosen \+ rejected"
    ):
        guess([Row(columns, "f: line 1")])


def test_an_empty_file_and_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(JudgmentError, match="the file holds no line"):
        guess([])
    empty = tmp_path / "a.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(JudgmentError, match=r"a\.jsonl holds no line"):
        import_file(empty)
    with pytest.raises(JudgmentError, match=r"a\.xlsx is no file of judgments\. Such files end in"):
        import_file(tmp_path / "a.xlsx")


def test_a_json_file_of_lines_and_one_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes((FILES / "pairs.jsonl").read_bytes())
    assert import_file(path, Reading(NAME)) == import_file(FILES / "pairs.jsonl", Reading(NAME))
    path.write_text("[{}", encoding="utf-8")
    with pytest.raises(JudgmentError, match=r"a\.json is not JSON"):
        import_file(path)
    path.write_text("[3]", encoding="utf-8")
    with pytest.raises(JudgmentError, match=r"a\.json: item 1: 3 is no object"):
        import_file(path)


def test_the_name_of_a_file_is_the_name_of_its_policy() -> None:
    found = import_file(FILES / "pairs.jsonl")[1]
    assert {one.policy for one in found.responses} == {"file:pairs"}


# --- out ----------------------------------------------------------------------------------------------------------

SAID: tuple[Judgment, ...] = (
    Comparison(rater="Ana", left=GRASS.id, right=SUGAR.id, choice=-1),
    Comparison(rater="=Ben", left=GRASS.id, right=SUGAR.id, choice=1, comment="-so"),
    Rating(rater="Ana", response=LAZY.id, value=2),
    Rating(rater="judge-7", response=LAZY.id, value=2, source="judge"),
)
FEEDBACK = Feedback(PROMPTS, RESPONSES, SAID)


@pytest.mark.parametrize("format_", [one for one in FORMATS if one not in ("several", "label-studio")])
def test_names_of_people_leave_only_when_asked(format_: Format) -> None:
    hidden, named = export(FEEDBACK, format_).text, export(FEEDBACK, format_, names=True).text
    assert "Ana" not in hidden
    assert "Ben" not in hidden
    if format_ != "unpaired":
        assert "Ana" in named
    if format_ in ("judgments", "table", "scalar", "argilla"):
        assert pseudonym("Ana") in hidden
        assert "judge-7" in hidden


def test_a_pseudonym_is_stable_and_its_key_hides_it() -> None:
    assert pseudonym("Ana") == pseudonym("Ana")
    assert len({pseudonym("Ana"), pseudonym("Ben"), pseudonym("Ana", "k"), pseudonym("Ana", "l")}) == 4
    assert re.fullmatch("r[0-9a-f]{12}", pseudonym("Ana"))


@pytest.mark.parametrize("format_", ["judgments", "table"])
def test_the_own_formats_hold_everything(tmp_path: Path, format_: Format) -> None:
    exported = export(FEEDBACK, format_, names=True)
    assert not exported.lost
    path = tmp_path / ("a.csv" if format_ == "table" else "a.jsonl")
    path.write_bytes(exported.text.encode())
    assert read_judgments(path) == SAID
    assert import_file(path)[1].judgments == SAID


def test_no_cell_of_a_table_is_a_formula() -> None:
    text = export(FEEDBACK, "table", names=True).text
    assert "'=Ben" in text
    assert "'-so" in text
    assert not re.search(r"(^|,|\")[=+@]", text, re.MULTILINE)


def test_an_empty_text_is_lost_in_a_table() -> None:
    exported = export(replace(FEEDBACK, judgments=[replace(SAID[0], comment="")]), "table")
    assert exported.lost == Lost({"empty_texts": 1})
    assert exported.lost.sentence == "1 empty texts"


# --- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_a_damaged_file_is_read_whole_or_refused(tmp_path: Path, name: str) -> None:
    count = 500 if KNOWN[name] in ("judgments", "pairs") else 100
    ends = [_end(tmp_path / name, content) for content in damaged((FILES / name).read_bytes(), count)]
    accepted, rejected = ends.count("read"), ends.count("refused")
    assert accepted + rejected == count
    assert rejected > count / 5


def _end(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    try:
        _, found = import_file(path, reading(path.name))
    except InputError as error:
        return "refused" if str(path) in error.what and error.remedy and len(str(error)) < 1500 else "unclear"
    return "read" if len(list(judgment_lines(found.judgments))) == len(found.judgments) else "unclear"


# --- real sets ----------------------------------------------------------------------------------------------------


def test_ratings_of_a_real_set_are_read_to_the_last_row(tmp_path: Path) -> None:
    path = DATA / "summeval_op" / "ratings.jsonl"
    if not path.exists():
        pytest.skip("the set summeval_op is not beside the checkout")
    rows = [
        {"prompt": row.text("product"), "response": row.text("summary"), "rater": rater, **dict(scores.columns)}
        for row in read_rows(path)
        for rater, scores in enumerate(row.rows("ratings"))
    ]
    other = tmp_path / "a.jsonl"
    other.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    format_, found = import_file(other)
    assert format_ == "several"
    assert len(rows) == 3 * 416
    assert len(found.judgments) + found.lost.counts.get("missing_scores", 0) == 7 * len(rows)
    assert {one.scale for one in found.judgments if isinstance(one, Rating)} == {(1, 5)}


def test_pairs_of_a_real_set_are_read_to_the_last_row(tmp_path: Path) -> None:
    folder = DATA / "ukpconvarg1"
    if not folder.exists():
        pytest.skip("the set ukpconvarg1 is not beside the checkout")
    texts = {row.text("arg_id"): row.text("text") for row in read_rows(folder / "arguments.jsonl")}
    votes = [
        (row, vote)
        for row, _ in zip(read_rows(folder / "pairs.jsonl"), range(1000), strict=False)
        for vote in row.rows("votes")
    ]
    decided = [(row, vote) for row, vote in votes if vote.text("v") != "equal"]
    lines = [
        {
            "prompt": row.text("topic"),
            "chosen": texts[row.text(vote.text("v"))],
            "rejected": texts[row.text("a1" if vote.text("v") == "a2" else "a2")],
            "rater": vote.text("w"),
        }
        for row, vote in decided
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    found = import_file(path)[1]
    assert len(found.judgments) + found.lost.counts.get("equal_texts", 0) == len(lines)
    assert len({one.rater for one in found.judgments}) == len({line["rater"] for line in lines})
