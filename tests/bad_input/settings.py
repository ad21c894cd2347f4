"""Mistakes in project.toml."""

from __future__ import annotations

from pathlib import Path

from expound.settings import REFUSED_SAMPLING
from tests.bad_input.row import Row, edited, wrote

FILE = "project/project.toml"
HEAD = '[project]\nname = "a"\ntask = "answer"\nmodel = "m"\n'
JUDGE = '[judge]\nmodel = "m"\nendpoint = "http://127.0.0.1:8080/v1"\n'
CHANGE = "Change it and run the same command again."
TRUNCATED = "A truncated distribution would make PPO's ratios wrong; use temperature alone."
SECRET = "Keep the key out of files: set the environment variable EXPOUND_JUDGE_KEY."
ADDRESS = "[judge]: endpoint is no address to which /chat/completions can be added, such as http://127.0.0.1:8080/v1."
MIXED = "[panel]: a simulated panel is never mixed with others; give one kind."
LEAK = (
    "[judge]: endpoint holds more than an address; keep keys and passwords out of files, "
    "and set the environment variable EXPOUND_JUDGE_KEY."
)


def row(does: str, content: str | bytes, what: str, remedy: str = CHANGE) -> Row:
    return Row(does, "status project", f"SettingsError: {FILE}{what}", remedy, given=wrote(FILE, content))


def below(text: str, what: str, remedy: str = CHANGE) -> Row:
    """Return the row of lines below a [project] that is right."""
    return row(" ".join(text.split("\n")), f"{HEAD}{text}\n", f": {what}", remedy)


def judge(text: str, what: str, remedy: str = CHANGE) -> Row:
    return below(f'[judge]\nmodel = "m"\n{text}', what, remedy)


def folder_instead(here: Path) -> None:
    (here / FILE).unlink()
    (here / FILE).mkdir()


ROWS = (
    below("[ppo]\nkl_coeff = 1", "[ppo] has no key 'kl_coeff'.", "Did you mean 'kl_weight'?"),
    below("[ppo]\nepoch = 1", "[ppo] has no key 'epoch'.", "Did you mean 'epochs'?"),
    below("[reward]\nqqq = 1", "[reward] has no key 'qqq'.", "There are members."),
    below("[askign]\ncount = 1", "there is no table [askign].", "Did you mean 'asking'?"),
    below(
        "[zzz]\na = 1",
        "there is no table [zzz].",
        "There are project, panel, judge, asking, sampling, reward, ppo, measuring, stopping, site.",
    ),
    *(below(f"[sampling]\n{key} = 1", f"[sampling] has no key '{key}'.", TRUNCATED) for key in REFUSED_SAMPLING),
    *(
        judge(f'endpoint = "http://a/v1"\n{key} = "sesame"', f"[judge] has no key '{key}'.", SECRET)
        for key in ("key", "api_key", "apikey", "API_KEY", "token", "password", "authorization")
    ),
    below('[asking]\ncount = "many"', '[asking] count must be a whole number or "auto", not "many".'),
    below("[asking]\ncount = 0", '[asking] count must be at least 1 or "auto", not 0.'),
    below("[asking]\noverlap = 21", "[asking] overlap must be at most 20, not 21."),
    below("[asking]\noverlap = true", "[asking] overlap must be a whole number, not true."),
    below("[asking]\noverlap = 2.5", "[asking] overlap must be a whole number, not 2.5."),
    below('[asking]\ncriteria = "x"', '[asking] criteria must be a list, not "x".'),
    below(
        '[asking]\nballots = ["check"]',
        '[asking] ballots must be "comparison", "rating" or "ranking", not "check".',
        "There are comparison, rating, ranking.",
    ),
    below('[sampling]\ntemperature = "hot"', '[sampling] temperature must be a number, not "hot".'),
    below("[sampling]\ntemperature = nan", "[sampling] temperature must be a finite number, not NaN."),
    below("[sampling]\ntemperature = 0", "[sampling] temperature must be above 0, not 0."),
    below("[ppo]\nkl_weight = inf", "[ppo] kl_weight must be a finite number, not Infinity."),
    below("[ppo]\nkl_target = -1", '[ppo] kl_target must be at least 0 or "auto", not -1.'),
    below("[ppo]\nlearning_rate = 0", '[ppo] learning_rate must be above 0 or "auto", not 0.'),
    below('[ppo]\nlive_layers = "half"', '[ppo] live_layers must be a whole number or "third", not "half".'),
    below(
        '[ppo]\nmode = "full"\nlive_layers = 6',
        '[ppo]: live_layers is of mode "branches"; in mode "full" every layer learns.',
    ),
    below("[ppo]\nepochs = 2026-01-01", '[ppo] epochs must be a whole number, not "2026-01-01".'),
    below(
        "[ppo]\nepisodes = 33",
        "[ppo] episodes = 33 is no multiple of responses_per_prompt x minibatches = 16; use 32 or 48.",
    ),
    below(
        "[ppo]\nepisodes = 2",
        "[ppo] episodes = 2 is no multiple of responses_per_prompt x minibatches = 16; use 16 or 32.",
    ),
    below(
        '[ppo]\nestimator = "gea"',
        '[ppo] estimator must be "gae", "rloo" or "grpo", not "gea".',
        "Did you mean 'gae'?",
    ),
    below("[sampling]\nresponses_per_prompt = 1", "[sampling] responses_per_prompt must be at least 2, not 1."),
    below("[[ppo]]\nepochs = 1", "[ppo] must be a table."),
    below(
        '[panel]\nkinds = ["peple"]',
        '[panel] kinds must be "people", "judge" or "simulated", not "peple".',
        "Did you mean 'people'?",
    ),
    below('[panel]\nkinds = "people"', '[panel] kinds must be a list, not "people".'),
    below("[panel]\nkinds = []", "[panel] kinds must be a list of at least one, not []."),
    below('[panel]\nkinds = ["people", "simulated"]', MIXED),
    below('[panel]\nkinds = ["judge", "simulated"]', MIXED),
    below(
        '[panel]\nkinds = ["judge"]',
        "[panel] has a judge, but there is no table [judge]; give it an endpoint and a model.",
    ),
    below(
        '[panel]\nkinds = ["score function"]',
        "[panel] kinds: a function cannot stand in a file.",
        "Give the function to project.run(feedback=...) or project.run(ranking=...), in Python.",
    ),
    judge("", "[judge] lacks 'endpoint'.", "Add it."),
    judge('endpoint = "http://a/v1"\nmodle = 1', "[judge] has no key 'modle'.", "Did you mean 'model'?"),
    judge('endpoint = "http://a/v1"\nseconds = 0', "[judge] seconds must be above 0, not 0."),
    judge('endpoint = "http://a/v1"\nat_once = 65', "[judge] at_once must be at most 64, not 65."),
    judge('endpoint = "http://a/v1"\nper_minute = 0', "[judge] per_minute must be above 0, not 0."),
    judge("endpoint = 5", "[judge] endpoint must be a text, not 5."),
    *(
        judge(f'endpoint = "{address}"', ADDRESS)
        for address in (
            "ftp://a/v1",
            "http:///v1",
            "http://a/v1/chat/completions/",
            "http://a:99999/v1",
            "http://a:b/v1",
            "http://[::1/v1",
        )
    ),
    *(
        judge(f'endpoint = "{address}"', LEAK)
        for address in ("https://me:sesame@a.example/v1", "https://a.example/v1?key=sesame")
    ),
    below(
        '[judge]\nendpoint = "http://a/v1"\nmodel = ""',
        '[judge] model must be a text of at least one character, not "".',
    ),
    below("[site]\nport = 65536", "[site] port must be at most 65535, not 65536."),
    below('[site]\nport = "8800"', '[site] port must be a whole number, not "8800".'),
    below('[site]\nhost = ""', '[site] host must be a text of at least one character, not "".'),
    below(
        'prompts = "/etc/*"', "[project]: prompts = '/etc/*' is absolute; name the files from the project folder on."
    ),
    below('prompts = ""', '[project] prompts must be a text of at least one character, not "".'),
    below("seed = -1", "[project] seed must be at least 0, not -1."),
    below("format = 0", "[project] format must be at least 1, not 0."),
    row(
        "format = 2, of a newer version",
        f"{HEAD}format = 2\n",
        " has the format 2, and this version of expound knows formats up to 1.",
        "Update expound.",
    ),
    row("an empty project.toml", "", ": [project] is missing.", "Add it."),
    row(
        "a slip in [projct]",
        HEAD.replace("project", "projct"),
        ": there is no table [projct].",
        "Did you mean 'project'?",
    ),
    row(
        'name = "a" above every table',
        f'name = "a"\n{HEAD}',
        ": 'name' stands above every table.",
        "Put it below its [table].",
    ),
    row("ppo = 3 above every table", f"ppo = 3\n{HEAD}", ": [ppo] must be a table."),
    row("a [project] without a model", HEAD.replace('model = "m"', ""), ": [project] lacks 'model'.", "Add it."),
    row(
        "an empty name", HEAD.replace('"a"', '""'), ': [project] name must be a text of at least one character, not "".'
    ),
    row("a number for a name", HEAD.replace('"a"', "3"), ": [project] name must be a text, not 3."),
    row("a bracket that is not closed", f"{HEAD}[ppo", " is not valid TOML: …", "Mend that line."),
    row("a key twice", f"{HEAD}[site]\nport = 1\nport = 2", " is not valid TOML: …", "Mend that line."),
    row("a zero byte", f"{HEAD}\0", " is not valid TOML: … (at line 5, column 1).", "Mend that line."),
    row(
        "5,000 brackets",
        f"{HEAD}seed = {'[' * 5000}",
        " is nested too deeply.",
        "Write the keys below tables, as in the reference.",
    ),
    row("a number of 5,000 digits", f"{HEAD}seed = {'9' * 5000}", " holds a number that is too long.", "Shorten it."),
    row("UTF-16", HEAD.encode("utf-16"), " is not UTF-8 at byte 0.", "Save it as UTF-8."),
    row("Latin-1", "[project]\nname = 'é'\n".encode("latin-1"), " is not UTF-8 at byte 18.", "Save it as UTF-8."),
    Row(
        "a folder called project.toml",
        "status project",
        f"SettingsError: {FILE} is a folder, and a file is needed.",
        "Move it away and put the file there.",
        given=folder_instead,
    ),
    Row(
        "a criterion that the task does not have",
        "run project",
        "SettingsError: [asking] criteria: 'answer' has no 'reasons'.",
        "Did you mean 'reason'?",
        given=edited(FILE, "[asking]\n", '[asking]\ncriteria = ["reasons"]\n'),
    ),
)
