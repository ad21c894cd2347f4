"""Mistakes in files of judgments, of the own format and of others."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.bad_input.row import USAGE, Row, nothing, wrote

RATED = {"kind": "rating", "rater": "r", "response": "a", "value": 3}
COMPARED = {"kind": "comparison", "rater": "r", "left": "a", "right": "b", "choice": 1}
RANKED = {"kind": "ranking", "rater": "r", "tiers": [["a"], ["b"]]}
PAIR = {"prompt": "Why?", "chosen": "Because of the wind.", "rejected": "So."}
LINE, AGAIN = "Mend or remove that line.", "Mend or export it again."
TIERS = 'Give tiers of responses, each response once and at least two, such as [["c"], ["a", "b"]].'
FORMATS = (
    "Known are kind; chosen + rejected; data + annotations; fields + responses; prompt + completion + label; "
    "prompt + response + score; completions; prompt + response + numbers."
)


def file(does: str, name: str, content: str | bytes, what: str, remedy: str) -> Row:
    """Return the row of a file of judgments with a mistake in it."""
    return Row(does, f"settle {name}", f"JudgmentError: {name}{what}", remedy, given=wrote(name, content))


def line(does: str, second: object, what: str, remedy: str, first: object = RATED) -> Row:
    """Return the row of a mistake in the second line of a JSON Lines file."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in (first, second)]
    return file(does, "votes.jsonl", "\n".join(lines), f": line 2: {what}", remedy)


def tool(does: str, item: object, what: str, remedy: str) -> Row:
    """Return the row of a mistake in the JSON that another tool has written."""
    return file(does, "export.json", json.dumps([item]), f": item 1: {what}", remedy)


OWN = (
    line("a line that breaks off", "{", "not JSON at column 2: …", LINE),
    line("a kind that is not known", {"kind": "raiting"}, "there is no kind 'raiting'.", "Did you mean 'rating'?"),
    line("a key that is not known", {**RATED, "valeu": 3}, "a rating has no key 'valeu'.", "Did you mean 'value'?"),
    line("no rater", {**RATED, "rater": ""}, "'rater' is ''.", "Give a text that is not empty."),
    line("a value outside its scale", {**RATED, "value": 6}, "'value' is 6.", "Give a whole number from 1 to 5."),
    line("no value", {**RATED, "value": None}, "'value' is missing.", "Give a whole number from 1 to 5."),
    line("a scale upside down", {**RATED, "scale": [5, 1]}, "'scale' is [5, 1].",
         "Give the lowest and the highest point, at most 100 apart, such as [1, 5]."),
    line("negative seconds", {**RATED, "seconds": -1}, "'seconds' is -1.", "Give seconds, 0 or more."),
    line("a number that is too large", json.dumps(RATED)[:-1] + ', "seconds": 1e999}',
         "a number is too large to be one.", "Mend the number."),
    line("a split misspelt", {**RATED, "split": "heldout"}, "there is no split 'heldout'.",
         "Did you mean 'held_out'?"),
    line("a source misspelt", {**RATED, "source": "poeple"}, "there is no source 'poeple'.", "Did you mean 'people'?"),
    line("half of a character", '{"kind": "skip", "rater": "r", "comment": "\\ud800"}',
         "a text holds half of a character.", "Mend the text."),
    line("a response compared with itself", {**COMPARED, "right": "a"}, "'a' is compared with itself.",
         "Compare two responses."),
    line("a choice beyond its strength", {**COMPARED, "choice": 2}, "'choice' is 2.",
         "Give a whole number from -1 to 1."),
    line("a tie where none was offered", {**COMPARED, "choice": 0, "ties": False},
         "'choice' is 0 where no tie was offered.", "Leave 'ties' out, or give another choice."),
    line("both bad, and one better", {**COMPARED, "both_bad": True}, "'both_bad' is true and 'choice' is 1.",
         "Both are bad in a tie (0) alone."),
    line("a ranking of one", {**RANKED, "tiers": [["a"]]}, "'tiers' is [['a']].", TIERS),
    line("a response ranked twice", {**RANKED, "tiers": [["a"], ["a"]]}, "'tiers' is [['a'], ['a']].", TIERS),
    line("a known right value outside its scale", {**RATED, "gold": 9}, "'gold' is 9.",
         "Give the right value as a rating says it, or leave it out."),
    file("a table whose kind is not known", "votes.csv", "kind,rater,response,value\nraiting,r,a,3\n",
         ": line 2: there is no kind 'raiting'.", "Did you mean 'rating'?"),
    file("a table with a ragged row", "votes.csv", "kind,rater,response,value\nrating,r,a\n",
         ": line 2: there are 3 cells under 4 names.", "Put a text that holds commas or line ends into double quotes."),
)  # fmt: skip
WHOLE = (
    replace(file("a file of judgments that is not there", "gone.jsonl", "",
                 " could not be read: No such file or directory.", "Check its name and the right to read it."),
            given=nothing),
    file("an empty file of judgments", "votes.jsonl", "\n", " holds no line.", "Put judgments into it."),
    file("judgments in Latin-1", "votes.jsonl", '{"kind": "é"}'.encode("latin-1"), ": line 1: not UTF-8 at byte 10.",
         "Save the file as UTF-8."),
    file("judgments in UTF-16", "votes.csv", "kind\nskip\n".encode("utf-16"), " is not UTF-8 at byte 0.",
         "Save it as UTF-8."),
    file("a file of another kind", "votes.xlsx", b"PK", " is no file of judgments.",
         "Such files end in .jsonl, .json, .csv; rename it."),
    file("keys of no format", "votes.jsonl", '{"a": 1}\n', ": line 1: no format has the keys a.", FORMATS),
    line("two formats in one file", RATED, "this looks like 'judgments', the first line like 'pairs'.",
         "Give each format its own file.", first=PAIR),
    line("a label that is no label", {"prompt": "Why?", "completion": "So.", "label": "maybe"}, "'label' is 'maybe'.",
         "Give true or false.", first={"prompt": "Why?", "completion": "No.", "label": False}),
    line("a pair of texts without a beginning in common", {"chosen": "Wind.", "rejected": "Rain."},
         "'chosen' and 'rejected' begin with different words.", "Give what was asked in 'prompt'.", first=PAIR),
    line("a text for a score", {"prompt": "Why?", "response": "So.", "score": "high"}, "'score' is 'high'.",
         "Give a number.", first={"prompt": "Why?", "response": "No.", "score": 0.5}),
    file("JSON that breaks off", "export.json", "[{}", " is not JSON: …", AGAIN),
    file("a list of numbers", "export.json", "[3]", ": item 1: 3 is no object.", "Mend or remove it."),
    tool("a Label Studio task whose fields are not known", {"data": {"q": "Why?", "a": "So."}, "annotations": []},
         "data: no field 'prompt' holds the prompt.", "Name it with --prompt; the fields are q, a."),
    tool("a Label Studio annotation that is a text",
         {"data": {"prompt": "Why?", "response": "So."}, "annotations": ["x"]},
         "annotations 1: 'x' is no object.", "Mend or remove it."),
    tool("an Argilla record whose fields are not known", {"fields": {"q": "Why?"}, "responses": {}},
         "fields: no field 'prompt' holds the prompt.", "Name it with --prompt; the fields are q."),
    tool("an Argilla answer that is a text",
         {"fields": {"prompt": "Why?", "response": "So."}, "responses": {"clarity": "5"}},
         "responses: 'clarity' is '5'.", "Give a list, or leave it out."),
)  # fmt: skip
VOTES = wrote("votes.jsonl", json.dumps(COMPARED))
FILES = ".jsonl, .json, .csv"
VERBS = (
    Row("a format that is not known", "settle votes.jsonl --format pair", "JudgmentError: there is no format 'pair'.",
        "Did you mean 'pairs'?", given=VOTES),
    Row("a round of a file", "settle votes.jsonl --round 2", "InputError: a file has no rounds.", "Leave --round out.",
        given=VOTES),
    Row("verdicts of a project into a file", "settle project --out new.jsonl",
        "InputError: project is no file of judgments.", "Name a file, or leave out all options but --round."),
    Row("verdicts into a file that is there", "settle votes.jsonl --out votes.jsonl",
        "JudgmentError: votes.jsonl is there already.", "Name a file that does not exist yet.", given=VOTES),
    Row("nothing that can be weighed", "settle votes.jsonl",
        "JudgmentError: votes.jsonl holds nothing to weigh (1 skips).",
        "Give comparisons, ratings, rankings or checks.",
        given=wrote("votes.jsonl", '{"kind": "skip", "rater": "r", "ballot": "b", "reason": ""}')),
    Row("a round of a file of pairs", "fit votes.jsonl --round 2", "InputError: a file has no rounds.",
        "Leave --round out.", given=VOTES),
    Row("held-out pairs for a project", "fit project --held-out votes.jsonl",
        "InputError: project is no file of judgments.", "Name a file, or leave out all options but --round.",
        given=VOTES),
    Row("no file of pairs", "fit gone.jsonl", "JudgmentError: gone.jsonl could not be read: No such file or directory.",
        "Check its name and the right to read it."),
    Row("a pair of responses without text", "fit votes.jsonl",
        "JudgmentError: votes.jsonl names responses ('a') without their texts.",
        "Give preference pairs, or another format that holds the texts.", given=VOTES),
    Row("no file to ingest", "ingest project", "Missing argument 'file'.", USAGE),
    Row("judgments of responses that nobody knows", "ingest people votes.jsonl",
        "JudgmentError: votes.jsonl holds no judgment that has a place in people (1 without text).",
        "Give judgments of texts that stand in the file, or of responses of this project.", given=VOTES),
    Row("judgments for a project that is not there", "ingest nowhere votes.jsonl",
        "ProjectNotFound: … has no project.toml.", "…", given=VOTES),
    Row("judgments into a file that is there", "export project votes.jsonl",
        "JudgmentError: votes.jsonl is there already.", "Name a file that does not exist yet.", given=VOTES),
    Row("a file of more than one possible format", "export project new.json",
        "JudgmentError: new.json may be of the format label-studio…", "…--format…"),
    Row("judgments of a project that has none", "export project new.jsonl",
        "JudgmentError: project holds no judgment yet.", "Run 'expound run project' first."),
    Row("names in the folder of a policy", "export project new --names", "InputError: new is no file of judgments.",
        f"Name one that ends in {FILES}."),
)  # fmt: skip
ROWS = (*OWN, *WHOLE, *VERBS)
