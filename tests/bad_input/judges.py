"""Judges that are not there, say no or say nonsense, and functions of the user's that fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from expound.ports import RewardValue
from tests.bad_input.places import begun
from tests.bad_input.row import Given, Row, edited
from tests.support.judge_server import JudgeServer, Trouble

TOML = "project/project.toml"
KEY = "EXPOUND_JUDGE_KEY"
CHECK = f"Check [judge] endpoint and model, and the key in the environment variable {KEY}."
FORM = "Check [judge] endpoint and model: a model is needed that keeps to the JSON it is asked for."
LATER = "Run the same command again when it can be reached; what it has said is kept."
AGAIN = "Mend it and make the same call again: what it has said so far is kept."
JUDGE = "the judge at http://127.0.0.1:…/v1"


def asks(here: Path, endpoint: str) -> None:
    """Begin a round in which a judge is to compare."""
    edited(TOML, '["simulated"]', '["judge"]')(here)
    edited(TOML, '["comparison", "rating"]', '["comparison"]')(here)
    table = f'\n[judge]\nmodel = "m"\nendpoint = "{endpoint}"\nseconds = 1\n'
    (here / TOML).write_text((here / TOML).read_text("utf-8") + table, encoding="utf-8")
    begun(here, "project")


def judge(trouble: Trouble) -> Given:
    """Let a judge with that trouble be asked."""

    @contextmanager
    def given(here: Path) -> Iterator[None]:
        with JudgeServer(plan=lambda _question, _before: trouble) as server:
            asks(here, server.endpoint)
            yield

    return given


@contextmanager
def with_odd_key(here: Path) -> Iterator[None]:
    """Set a key with a line end in it."""
    asks(here, "http://127.0.0.1:9/v1")
    os.environ[KEY] = "sesame\nopen"
    try:
        yield
    finally:
        del os.environ[KEY]


def row(does: str, trouble: Trouble, what: str, remedy: str) -> Row:
    """Return the row of a judge whose trouble is told at once."""
    return Row(does, "settle project", f"SettingsError: {what}", remedy, given=judge(trouble))


def patient(does: str, given: Given, last: str, judge: str = JUDGE) -> Row:
    """Return the row of a judge that is tried again and again, half a minute long."""
    what = f"StoppedItself: {judge} gave no answer in 6 tries (the last: {last})."
    return Row(does, "settle project", what, LATER, code=5, given=given, patient=True)


def none_of(last: str) -> str:
    of = "none of the first 10 answers of the judge m at http://127.0.0.1:…/v1 is of the form asked for"
    return f"{of}; the last: '{last}'."


JUDGES = (
    row("a judge that talks instead of keeping to JSON", "malformed", none_of("Both have their merits, …"), FORM),
    row("a judge that says nothing", "no words", none_of('{"role": "assistant", "content": null}'), FORM),
    row("a judge that finds every question too long", "too long", none_of("HTTP 400: this is too long None"), FORM),
    row("a judge that wants a key", "no key", f"{JUDGE} refused the request: HTTP 401, 'wrong key None'.", CHECK),
    row("a judge that has moved", "moved", f"{JUDGE} refused the request: HTTP 302, 'over there None'.", CHECK),
    Row("a key with a line end", "settle project",
        f"SettingsError: the environment variable {KEY} holds a character that no key has.",
        "Set it to the key alone.", given=with_odd_key),
    patient("a judge that cannot be reached", lambda here: asks(here, "http://127.0.0.1:9/v1"), "…",
            "the judge at http://127.0.0.1:9/v1"),
    patient("a judge that answers 500 for ever", judge("failing"), "HTTP 500, 'out of order None'"),
    patient("a judge that is a web page", judge("html"),
            "no answer of the chat protocol: '<html>Welcome!</html>'"),
    patient("a judge that lies about its format", judge("lie"), "…"),
)  # fmt: skip


def function(does: str, shown: str, what: str, remedy: str = AGAIN, **options: object) -> Row:
    """Return the row of a call of `run` with a function of the user's."""

    def call(here: Path) -> object:
        import expound

        return expound.open(here / "project").run(**options)

    return Row(does, f"project.run({shown})", f"InputError: {what}", remedy, call=call)


def sleeps(text: str, response: str) -> float:
    raise TimeoutError("the service sleeps")


def scores(value: object) -> Callable[[str, str], object]:
    def score(text: str, response: str) -> object:
        return value

    return score


def places(value: object) -> Callable[[str, list[str]], object]:
    def rank(text: str, responses: list[str]) -> object:
        return value

    return rank


def gave(name: str, value: str, what: str) -> str:
    return f"your function '{name}' gave {value} for prompt '…', which {what}."


NO_PLACES = "are no places from 1, the best, to 5"
FUNCTIONS = (
    function("a function that raises", "feedback=sleeps",
             "your function 'sleeps' failed on prompt '…' (TimeoutError: the service sleeps).", feedback=sleeps),
    function("a function of one argument", "feedback=len",
             "your function 'len' failed on prompt '…' (TypeError: len() takes exactly one argument (2 given)).",
             feedback=len),
    *(
        function(f"a score that is {value!r}", f"feedback=score, which gives {value!r}",
                 gave("score", repr(value), what), feedback=scores(value))
        for value, what in ((None, "is no number"), ("5", "is no number"), (float("nan"), "is no finite number"))
    ),
    function("a score beyond all bounds", "feedback=score, which gives 10**400", gave("score", "1000…",
             "is beyond all bounds"), feedback=scores(10**400)),
    function("a passage beyond the text", "feedback=score, which gives RewardValue(1.0, spans=[(0, 999, 1.0)])",
             gave("score", "RewardValue(…", "has a span that ends at 999 in a text of … characters"),
             feedback=scores(RewardValue(1.0, spans=[(0, 999, 1.0)]))),
    function("a passage without a character", "feedback=score, which gives RewardValue(1.0, spans=[(3, 3, 1.0)])",
             gave("score", "RewardValue(…", "has a span from 3 to 3, which holds no character"),
             feedback=scores(RewardValue(1.0, spans=[(3, 3, 1.0)]))),
    function("values for too few tokens", "feedback=score, which gives RewardValue(1.0, tokens=[])",
             gave("score", "RewardValue(…", "holds 0 token rewards for a response of … tokens"),
             feedback=scores(RewardValue(1.0, tokens=[]))),
    Row("one score for everything", "project.run(feedback=score, which gives 1.0)",
        "NothingToLearn: your function gives every response the same score (1).",
        "Let it tell responses apart, or bring other prompts; then run again: a new round begins.", code=5,
        call=function("", "", "", feedback=scores(1.0)).call),
    function("a ranking that raises", "ranking=sleeps",
             "your function 'sleeps' failed on prompt '…' (TimeoutError: the service sleeps).", ranking=sleeps),
    function("a ranking of nothing", "ranking=rank, which gives None",
             gave("rank", "None", "holds 0 places for 5 responses"), ranking=places(None)),
    function("a ranking of one", "ranking=rank, which gives [1]",
             gave("rank", "[1]", "holds 1 places for 5 responses"), ranking=places([1])),
    function("a ranking from 0", "ranking=rank, which gives [0, 1, 2, 3, 4]",
             gave("rank", "[0, 1, 2, 3, 4]", NO_PLACES), ranking=places([0, 1, 2, 3, 4])),
    function("a ranking without a best", "ranking=rank, which gives [2, 2, 2, 2, 2]",
             gave("rank", "[2, 2, 2, 2, 2]", NO_PLACES), ranking=places([2] * 5)),
    function("a number for a function", "feedback=3", "3 is no function.",
             "Give the function itself, without calling it.", feedback=3),
    function("two functions", "feedback=score, ranking=rank", "two functions were given, feedback and ranking.",
             "Give one of them: it judges alone.", feedback=scores(1.0), ranking=places([1])),
    function("no rounds", "feedback=score, rounds=0", "0 rounds cannot be walked.", "Give at least 1.",
             feedback=scores(1.0), rounds=0),
)  # fmt: skip
ROWS = (*JUDGES, *FUNCTIONS)
