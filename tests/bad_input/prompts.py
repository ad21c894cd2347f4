"""Mistakes in prompt files, in what `init` is told, and in what `explain` is asked."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bad_input.row import Row, edited, together, wrote

GOOD = '{"text": "Why?"}\n'
TWO = GOOD + '{"text": "How?"}\n'
COLUMNS = "There are text, source, id, reference, gold, group, split, meta."
HEADER = "The first line of a .csv file names its columns."
LINE = "Mend or remove that line."
UTF8, UTF8_TOO = "Save it as UTF-8.", "Save the file as UTF-8."
ZERO = "Save the file as UTF-8, or mend the text."
GIVE = "Give the path of a .jsonl, .csv or .txt file."
EMPTY = "Put a prompt into it, or remove it."
CELLS = "Put a text that holds commas or line ends into double quotes."


def file(does: str, name: str, content: str | bytes, what: str, remedy: str) -> Row:
    """Return the row of a prompt file with a mistake in it."""
    command = f"init new --prompts {name}"
    return Row(does, command, f"PromptError: {name}{what}", remedy, given=wrote(name, content))


def line(does: str, second: str, what: str, remedy: str) -> Row:
    """Return the row of a mistake in the second line of a JSON Lines file."""
    return file(does, "a.jsonl", f"{GOOD}{second}\n", f": line 2{what}", remedy)


JSON_LINES = (
    file("an empty file", "a.jsonl", "", " is empty.", EMPTY),
    file("blank lines alone", "a.jsonl", "\n\n", " is empty.", EMPTY),
    line("a line of JSON that breaks off", '{"text": "How?', ": not JSON at column …", LINE),
    line("a list for a prompt", "[1]", ": not a JSON object.", LINE),
    line("an unknown column", '{"txt": "How?"}', ": there is no column 'txt'.", "Did you mean 'text'?"),
    line("a column like none", '{"text": "How?", "zzzzzz": 1}', ": there is no column 'zzzzzz'.", COLUMNS),
    line("no text", '{"source": "Wind."}', ": 'text' is missing or empty.", "Say in 'text' what is asked."),
    line("a number for a text", '{"text": 3}', ": 'text' is 3.", "Give a text in quotes."),
    line("a blank text", '{"text": "  "}', ": 'text' is missing or empty.", "Say in 'text' what is asked."),
    line("a list for a passage", '{"text": "How?", "source": ["b"]}', ": 'source' is ['b'].", "Give a text in quotes."),
    line("a split like none", '{"text": "How?", "split": "xyz"}', ": there is no split 'xyz'.",
         "There are train, held_out."),
    line("a list for meta", '{"text": "How?", "meta": [1]}', ": 'meta' is [1].", "Give an object, or leave it out."),
    line("a split misspelt", '{"text": "How?", "split": "heldout"}', ": there is no split 'heldout'.",
         "Did you mean 'held_out'?"),
    line("a key twice", '{"text": "a", "text": "b"}', ": the key 'text' is given twice.", LINE),
    line("half of a character", '{"text": "\\ud800"}', ": 'text' holds half of a character.", "Mend the text."),
    line("a zero byte, escaped", '{"text": "W\\u0000hy?"}', ": 'text' holds a zero byte.", ZERO),
    line("a zero byte", '{"text": "W\0hy?"}', ": not JSON at column 12: Invalid control character at.", LINE),
    line("NaN for a number", '{"text": "How?", "meta": {"n": NaN}}', ": NaN is no number here.", LINE),
    line("brackets 100 deep", f'{{"text": "How?", "meta": {"[" * 100}{"]" * 100}}}', ": nested deeper than 32.", LINE),
    line("a line of 2 MB", f'{{"text": "{"a" * 2_000_000}"}}', ": longer than 1000000 bytes.", LINE),
    line("the same prompt twice", GOOD.strip(), " asks the same as a.jsonl: line 1.", "Remove one of the two."),
    file("the same id twice", "a.jsonl", '{"text": "a", "id": "x"}\n{"text": "b", "id": "x"}\n',
         ": line 2 has the id 'x' like a.jsonl: line 1.", "Give one of the two another id."),
    Row("a group in two splits", "init new --prompts a.jsonl",
        "PromptError: the group 'g' is given the splits 'train' and 'held_out'.",
        "A group belongs to one split: what is learnt from one member tells too much about another.",
        given=wrote("a.jsonl", '{"text": "a", "group": "g", "split": "train"}\n'
                               '{"text": "b", "group": "g", "split": "held_out"}\n')),
    file("UTF-16", "a.jsonl", TWO.encode("utf-16"), ": line 1: not UTF-8 at byte 0.", UTF8_TOO),
    file("Latin-1", "a.jsonl", '{"text": "Café?"}\n'.encode("latin-1"), ": line 1: not UTF-8 at byte 13.", UTF8_TOO),
)  # fmt: skip
TABLES = (
    file("a table without a header", "a.csv", "Why?\nHow?\n", ": line 1: there is no column 'Why?'.",
         f"{COLUMNS} {HEADER}"),
    file("a slip in the header", "a.csv", "txt\nWhy?\n", ": line 1: there is no column 'txt'.",
         f"Did you mean 'text'? {HEADER}"),
    file("semicolons", "a.csv", "text;id\nWhy?;a\n", ": line 1: the header is separated by semicolons.",
         "Save the file with commas."),
    file("tabs", "a.csv", "text\tid\nWhy?\ta\n", ": line 1: the header is separated by tabs.",
         "Save the file with commas."),
    file("a column without a name", "a.csv", "text,\nWhy?,\n", ": line 1: column 2 has no name.",
         "Give it one, or remove it."),
    file("two columns of one name", "a.csv", "text,text\nWhy?,a\n", ": line 1: there are two columns 'text'.",
         "Remove or rename one of them."),
    file("a ragged row", "a.csv", "text,id\nWhy,a\nsun, or moon?,a\n",
         ": line 3: there are 3 cells under 2 names.", CELLS),
    file("a row without a text", "a.csv", "text,id\n,a\n", ": line 2: 'text' is missing or empty.",
         "Say in 'text' what is asked."),
    file("no object in meta", "a.csv", "text,meta\nWhy?,3\n",
         ": line 2: 'meta' is no JSON object: not a JSON object.", 'Give one, such as {"topic": "rain"}.'),
    file("a quote that never ends", "a.csv", 'text\n"Why?\n', ": line 2: unexpected end of data.", "Mend that line."),
    file("text behind a quote", "a.csv", 'text\n"Why?"so\n', ": line 2: …", "Mend that line."),
    file("a cell of 200 kB", "a.csv", f"text\n{'a' * 200_000}\n",
         ": line 2: field larger than field limit (131072).", "Mend that line."),
    file("a header alone", "a.csv", "text\n", " is empty.", EMPTY),
    file("an empty table", "a.csv", "", " is empty.", EMPTY),
    file("a zero byte in a table", "a.csv", "text\nW\0hy?\nHow?\n", ": line 2: 'text' holds a zero byte.", ZERO),
    file("a table in UTF-16", "a.csv", "text\nWhy?\n".encode("utf-16"), " is not UTF-8 at byte 0.", UTF8),
    file("a table in Latin-1", "a.csv", "text\nCafé?\n".encode("latin-1"), " is not UTF-8 at byte 8.", UTF8),
    file("an empty text file", "a.txt", " ", " is empty.", EMPTY),
    file("a text file in UTF-16", "a.txt", "Why?".encode("utf-16"), " is not UTF-8 at byte 0.", UTF8),
    file("a text file in UTF-16 without its mark", "a.txt", "Why?".encode("utf-16-le"),
         ": 'text' holds a zero byte.", ZERO),
    file("a text file in Latin-1", "a.txt", "Grüße".encode("latin-1"), " is not UTF-8 at byte 2.", UTF8),
    file("a text file of 2 MB", "a.txt", "a" * 2_000_000, " is longer than 1000000 bytes.",
         "A .txt file is one prompt."),
)  # fmt: skip


def empty_folder(here: Path) -> None:
    (here / "notes").mkdir()


def pipe(here: Path) -> None:
    os.mkfifo(here / "a.jsonl")


def python(does: str, code: str, what: str, remedy: str) -> Row:
    """Return the row of a call in Python."""

    def call(here: Path) -> object:
        import expound

        values = {"init": expound.init, "Path": Path, "nan": float("nan"), "thing": print}
        return eval(code, values)  # noqa: S307 - the table's own lines

    return Row(does, code, what, remedy, call=call)


LISTED = "Give a text, an object with 'text', or the path of a prompt file."
BRACKETS = "PromptError: one prompt was given where a list of prompts belongs."
CREATING = (
    Row("a prompt file that is not there", "init new --prompts gone.jsonl",
        "PromptError: there is no prompt file gone.jsonl.", GIVE),
    Row("a pattern in quotes", "init new --prompts '*.jsonl'", "PromptError: there is no prompt file *.jsonl.", GIVE),
    Row("a folder for a prompt file", "init new --prompts notes", "PromptError: notes is a folder.",
        "Name the files in it, each one: --prompts notes/FILE.", given=empty_folder),
    Row("a pipe for a prompt file", "init new --prompts a.jsonl", "PromptError: there is no prompt file a.jsonl.", GIVE,
        given=pipe),
    Row("a file of another kind", "init new --prompts a.md", "PromptError: a.md is no prompt file.",
        "Prompt files end in .jsonl, .csv, .txt; rename it or move it away.", given=wrote("a.md", "Why?")),
    Row("two files of one name", "init new --prompts a.txt --prompts b/a.txt",
        "PromptError: two of the prompt files are called a.txt.", "Rename one of them.",
        given=together(wrote("a.txt", "Why?"), wrote("b/a.txt", "How?"))),
    Row("the same prompt in two files", "init new --prompts a.txt --prompts b.jsonl",
        "PromptError: new/prompts/b.jsonl: line 1 asks the same as new/prompts/a.txt.", "Remove one of the two.",
        given=together(wrote("a.txt", "Why?"), wrote("b.jsonl", GOOD))),
    Row("one prompt alone", "init new --prompts a.txt",
        "PromptError: a project needs at least two prompts, and there is 1.",
        "Add prompts: one to learn from and one to measure on, at the least. A .txt file is one prompt.",
        given=wrote("a.txt", "Why?")),
    Row("nothing held out", "init new --prompts a.jsonl", "PromptError: none of the 2 prompts is of split 'held_out'.",
        "Add prompts: the model learns from some (train) and is measured on others (held_out).",
        given=wrote("a.jsonl", TWO.replace("}", ', "split": "train"}'))),
    Row("no prompts at all", "init new", "PromptError: a project needs prompts, and none were given.",
        "Give --prompts FILE, or --example answer."),
    Row("a folder with something in it", "init project --example answer",
        "ProjectNotFound: project is there already and not empty.", "Name a folder that does not exist yet."),
    Row("a folder beneath a file", "init project/project.toml/new --example answer",
        "ProjectNotFound: … is a file, so that no folder can be made in it.", "Name another folder."),
    Row("a name of 300 letters", f"init {'x' * 300} --example answer",
        "InputError: xxx… cannot be read or written: File name too long.", "Check the path and give another."),
    Row("an example that does not exist", "init new --example nope", "InputError: there is no example 'nope'.",
        "There are: answer, diagnosis, recommendation, summary."),
    *(
        Row(f"an example and {also}", f"init new --example answer {also}",
            "InputError: the example 'answer' brings its own task, model and prompts.",
            "Leave them out and change the project's files afterwards, or leave out the example.",
            given=wrote("a.jsonl", TWO))
        for also in ("--prompts a.jsonl", "--model m", "--task mine")
    ),
    Row("prompts that went away", "run project", "PromptError: no prompt file matches 'prompts/*' in project.",
        "Put a .jsonl, .csv or .txt file there, or change [project] prompts.",
        given=lambda here: (here / "project" / "prompts" / "prompts.jsonl").unlink()),
    Row("another file among the prompts", "run project",
        "PromptError: project/prompts/notes.md is no prompt file.",
        "Prompt files end in .jsonl, .csv, .txt; rename it or move it away.",
        given=wrote("project/prompts/notes.md", "To do")),
    Row("a prompt longer than the model's context", "run project",
        "PromptError: Prompt ferry-stop has … tokens and its response may have 12, but the model holds 256.",
        "Shorten the prompt, lower [sampling] max_new_tokens or take a model with a longer context.",
        given=edited("project/prompts/prompts.jsonl", "The ferry stopped", "Wind blew. " * 200 + "The ferry stopped")),
    python("one text for a list", 'init("new", prompts="Why?")', BRACKETS, "Put it into brackets."),
    python("one path for a list", 'init("new", prompts=Path("a.txt"))', BRACKETS, "Put it into brackets."),
    python("a number for a prompt", 'init("new", prompts=["Why?", 3])', "PromptError: 3 is no prompt.", LISTED),
    python("a column misspelt in Python", 'init("new", prompts=[{"txt": "Why?"}, "How?"])',
           "PromptError: new/prompts/prompts.jsonl: line 1: there is no column 'txt'.", "Did you mean 'text'?"),
    python("nan in Python", 'init("new", prompts=[{"text": "Why?", "meta": {"n": nan}}, "How?"])',
           "PromptError: new/prompts/prompts.jsonl: line 1: NaN is no number here.", LINE),
    python("what JSON cannot hold", 'init("new", prompts=[{"text": "Why?", "meta": {"n": thing}}, "How?"])',
           "PromptError: a prompt cannot be written: Object of type … is not JSON serializable.",
           "Give texts, numbers, lists and objects."),
    python("half of a character in Python", 'init("new", prompts=["\\ud800", "How?"])',
           "PromptError: a prompt cannot be written: …", "Give texts, numbers, lists and objects."),
)  # fmt: skip
EXPLAINING = (
    Row("an empty question", "explain project ' '", "InputError: nothing is asked.",
        "Say in the text what is to be explained, or name a prompt."),
    Row("a question that is no UTF-8", "explain project '\udcff'", "InputError: what is asked is not UTF-8.",
        "Set the terminal to UTF-8, or name a prompt."),
    Row("a passage that is no UTF-8", "explain project Why? --source a.txt",
        "InputError: a.txt is not UTF-8 at byte 2.", UTF8, given=wrote("a.txt", "Grüße".encode("latin-1"))),
    Row("the id of no prompt", "explain project ferry-stp",
        "No prompt is called 'ferry-stp', so it is taken as a question.",
        "Did you mean 'ferry-stop'?", code=0),
    Row("a passage in a file that is not there", "explain project Why? --source gone.txt",
        "There is no file gone.txt:",
        "these words are taken as the passage.", code=0),
    Row("a temperature of 3", "explain project Why? --temperature 3",
        "Invalid value for '--temperature': it must be at most 2.", "See 'expound --help', or 'expound VERB --help'."),
    Row("the best of 0", "explain project Why? --best-of 0",
        "Invalid value for '--best-of': it must be at least 1.", "See 'expound --help', or 'expound VERB --help'."),
    Row("the best of 4 equal ones", "explain project Why? --best-of 4 --temperature 0",
        "InputError: 4 explanations at temperature 0 are the same 4 times.",
        "Leave the temperature out, or give one above 0."),
    Row("the best of 4 before a reward is fitted", "explain project Why? --best-of 4",
        "InputError: no reward has been fitted yet, which could choose the best.", "Run 'expound run project' first."),
    Row("a text that is longer than the model's context", f"explain project '{'why ' * 300}'",
        "PromptError: Prompt (the one to explain) has … tokens and its response may have 12, but the model holds 256.",
        "Shorten the prompt, lower [sampling] max_new_tokens or take a model with a longer context."),
    Row("an export into a folder that is there", "export project people", "ModelRefused: people is there already.",
        "Name a folder that does not exist yet."),
    Row("an export before anything is tuned", "export project new", "ModelRefused: project has no tuned policy yet.",
        "Run 'expound run project' first."),
)  # fmt: skip
ROWS = (*JSON_LINES, *TABLES, *CREATING, *EXPLAINING)
