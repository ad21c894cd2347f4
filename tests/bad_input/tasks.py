"""Mistakes in task.toml."""

from __future__ import annotations

from importlib import resources

from tests.bad_input.row import Given, Row, edited, together, wrote

TEXT = resources.files("expound.tasks").joinpath("answer.toml").read_text(encoding="utf-8")
MINE = TEXT.replace('name = "answer"', 'name = "mine"', 1)
USED = edited("project/project.toml", 'task = "answer"', 'task = "mine"')
TELL = "Give every point a label of at most 16 characters and a sentence in each language."
PARAGRAPH = "Put the question into a paragraph of its own; that of the source is left out where there is none."
SCALE = "Number them in steps of one, lowest first."


def with_file(content: str | bytes) -> Given:
    return together(USED, wrote("project/task.toml", content))


def row(does: str, old: str, new: str, what: str, remedy: str) -> Row:
    """Return the row of a task file in which one text is replaced."""
    assert old in MINE
    changed = with_file(MINE.replace(old, new, 1))
    return Row(f"in task.toml {does}", "status project", f"TaskError: {what}", remedy, given=changed)


ROWS = (
    Row("a task without a task.toml", "status project", "TaskError: there is no task 'mine'.",
        "Did you mean 'answer'? Your own task goes into task.toml.", given=USED),
    row("another name", 'name = "mine"', 'name = "mime"', "there is no task 'mine'.",
        "Did you mean 'mime'? Your own task goes into task.toml."),
    row("no TOML", "name =", "name ", "task.toml is not valid TOML: …", "Mend that line."),
    row("an unknown place", "{source}", "{sauce}", "task.toml: the template has {sauce}.", "Did you mean 'source'?"),
    row("no {text}", "{text}", "the text",
        "task.toml: the template has no paragraph with {text} and without {source}.", PARAGRAPH),
    row("{text} beside {source}", "Text: {source}\n\n", "Text: {source}\n",
        "task.toml: the template has no paragraph with {text} and without {source}.", PARAGRAPH),
    row("a slip in a key", "system =", "sytem =", "task.toml: there is no key 'sytem'.", "Did you mean 'system'?"),
    row("a slip in a table", "[length]", "[lenght]", "task.toml: there is no key 'lenght'.", "Did you mean 'length'?"),
    row("a key of length that is none", "shortest_words = 12", "shortest_words = 12\nlongest_word = 3",
        "task.toml: there is no key 'length.longest_word'.", "Did you mean 'longest_words'?"),
    row("a key of a criterion that is none", 'name = "reason"', 'name = "reason"\nqestion = {}',
        "task.toml: there is no key 'criteria.0.qestion'.", "Did you mean 'question'?"),
    row("a key of a point that is none", "{ value = 1, label", "{ valeu = 2, value = 1, label",
        "task.toml: there is no key 'criteria.0.points.0.valeu'.", "Did you mean 'value'?"),
    row("no longest length", "longest_words =", "# longest_words =",
        "task.toml: 'length.longest_words' is missing.", "Add it."),
    row("a text for a number", "shortest_words = 12", 'shortest_words = "12"',
        "task.toml: 'length.shortest_words' must be a whole number, not \"12\".", "Change it."),
    row("a negative length", "shortest_words = 12", "shortest_words = -1",
        "task.toml: 'length.shortest_words' must be at least 0, not -1.", "Change it."),
    row("a scale with a gap", "value = 5, label", "value = 6, label",
        "task.toml: criterion 'reason' has the scale points [1, 2, 3, 4, 6].", SCALE),
    row("a label that is too long", 'label = { en = "Wrong"', 'label = { en = "A label that is too long"',
        "task.toml: criterion 'reason', point 1, language 'en': label 'A label that is too long', meaning '…'.", TELL),
    row("a label that is missing", 'label = { en = "Wrong"', 'label = { de = "Falsch"',
        "task.toml: criterion 'reason', point 1, language 'en': label '', meaning '…'.", TELL),
    Row("a task.toml in Latin-1", "status project", "TaskError: project/task.toml is not UTF-8 at byte 8.",
        "Save it as UTF-8.", given=with_file('name = "é"'.encode("latin-1"))),
    Row("a task.toml of 5,000 brackets", "status project", "TaskError: task.toml is nested too deeply.",
        "Write the keys below tables, as in the reference.", given=with_file("a = " + "[" * 5000)),
    Row("a task misspelt", "init new --task diagnosi", "TaskError: there is no task 'diagnosi'.",
        "Did you mean 'diagnosis'? Give a task of your own a name less like that."),
    Row("a task with a path for a name", "init new --task ../mine", "TaskError: a task cannot be called '../mine'.",
        "Use letters, digits, spaces and hyphens."),
)  # fmt: skip
