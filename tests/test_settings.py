"""project.toml: every kind of mistake with its sentence and its remedy, and settings that survive the book."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic.fields import FieldInfo

from expound.errors import SettingsError
from expound.settings import REFUSED_SAMPLING, Section, Settings, changed_keys, dump, parse, undump

HEAD = '[project]\nname = "a"\ntask = "answer"\nmodel = "m"\n'
CHANGE = "Change it and run the same command again."
JUDGE = '[judge]\nmodel = "m"\nendpoint = "http://127.0.0.1:8080/v1"\n'

# What is written below the head, what is said, what to do.
MISTAKES = [
    ("[ppo]\nkl_coeff = 1", "[ppo] has no key 'kl_coeff'.", "Did you mean 'kl_weight'?"),
    ("[ppo]\nepoch = 1", "[ppo] has no key 'epoch'.", "Did you mean 'epochs'?"),
    ("[askign]\ncount = 1", "there is no table [askign].", "Did you mean 'asking'?"),
    ("[zzz]\na = 1", "there is no table [zzz].", "There are project, panel, judge, asking, "),
    ("[reward]\nqqq = 1", "[reward] has no key 'qqq'.", "There are members."),
    ('[asking]\ncount = "many"', "[asking] count: Input should be a valid integer, or 'auto' (given: 'many').", CHANGE),
    (
        "[asking]\ncount = 0",
        "[asking] count: Input should be greater than or equal to 1, or 'auto' (given: 0).",
        CHANGE,
    ),
    ("[asking]\noverlap = 21", "[asking] overlap: Input should be less than or equal to 20 (given: 21).", CHANGE),
    ('prompts = "/etc/*"', "prompts = '/etc/*' is absolute", CHANGE),
    ("[asking]\noverlap = true", "[asking] overlap: Input should be a valid integer (given: True).", CHANGE),
    ("[asking]\noverlap = 2.5", "[asking] overlap: Input should be a valid integer (given: 2.5).", CHANGE),
    (
        '[sampling]\ntemperature = "hot"',
        "[sampling] temperature: Input should be a valid number (given: 'hot').",
        CHANGE,
    ),
    ("[sampling]\ntemperature = nan", "[sampling] temperature: Input should be a finite number (given: nan).", CHANGE),
    ("[ppo]\nkl_weight = inf", "[ppo] kl_weight: Input should be a finite number (given: inf).", CHANGE),
    ("[ppo]\nkl_target = -1", "[ppo] kl_target: Input should be greater than or equal to 0, or 'auto' (given: -1)", ""),
    ("[ppo]\nlearning_rate = 0", "[ppo] learning_rate: Input should be greater than 0, or 'auto' (given: 0).", CHANGE),
    (
        '[ppo]\nlive_layers = "half"',
        "[ppo] live_layers: Input should be a valid integer, or 'third' (given: 'half')",
        "",
    ),
    (
        '[panel]\nkinds = ["peple"]',
        "[panel] kinds: Input should be 'people', 'judge', 'simulated'",
        CHANGE,
    ),
    ("[panel]\nkinds = []", "[panel] kinds: ", CHANGE),
    ('[panel]\nkinds = ["people", "simulated"]', "a simulated panel is never mixed with others", CHANGE),
    ('[panel]\nkinds = ["judge", "simulated"]', "a simulated panel is never mixed with others", CHANGE),
    ('[panel]\nkinds = ["judge"]', "[panel] has a judge, but there is no table [judge]", CHANGE),
    ('[asking]\nballots = ["check"]', "[asking] ballots: Input should be 'comparison', 'rating' or 'ranking'", CHANGE),
    ('[judge]\nmodel = "m"', "[judge] lacks 'endpoint'.", "Add it."),
    ('[judge]\nmodel = ""\nendpoint = "http://a/v1"', "[judge] model: String should have at least 1", CHANGE),
    (f"{JUDGE}modle = 1", "[judge] has no key 'modle'.", "Did you mean 'model'?"),
    (f"{JUDGE}seconds = 0", "[judge] seconds: Input should be greater than 0 (given: 0).", CHANGE),
    (f"{JUDGE}at_once = 65", "[judge] at_once: Input should be less than or equal to 64 (given: 65).", CHANGE),
    (f"{JUDGE}per_minute = 0", "[judge] per_minute: Input should be greater than 0 (given: 0).", CHANGE),
    ('[judge]\nmodel = "m"\nendpoint = "ftp://a"', "[judge] endpoint: String should match pattern", CHANGE),
    ('[judge]\nmodel = "m"\nendpoint = "http:///v1"', "[judge]: endpoint is no address to which /chat/", CHANGE),
    ('[judge]\nmodel = "m"\nendpoint = "http://a/v1/chat/completions/"', "[judge]: endpoint is no address", CHANGE),
    ('[judge]\nmodel = "m"\nendpoint = "http://a:99999/v1"', "[judge]: Port out of range 0-65535.", CHANGE),
    ('[judge]\nmodel = "m"\nendpoint = "http://[::1/v1"', "[judge]: Invalid IPv6 URL.", CHANGE),
    (
        "[ppo]\nepisodes = 33",
        "[ppo] episodes = 33 is no multiple of responses_per_prompt x minibatches = 16; use 32",
        "",
    ),
    ("[ppo]\nepisodes = 2", "minibatches = 16; use 16 or 32.", CHANGE),
    ("[site]\nport = 65536", "[site] port: Input should be less than or equal to 65535 (given: 65536).", CHANGE),
    ("[ppo", "is not valid TOML: ", "Mend that line."),
    ("[site]\nport = 1\nport = 2", "is not valid TOML: ", "Mend that line."),
]


@pytest.mark.parametrize(("text", "what", "remedy"), MISTAKES)
def test_a_mistake_is_named_with_its_remedy(text: str, what: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(f"{HEAD}{text}\n", "here.toml")
    assert what in raised.value.what
    assert raised.value.what.startswith("here.toml")
    assert remedy in raised.value.remedy


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "here.toml: [project] is missing."),
        ('[project]\nname = "a"\ntask = "answer"\n', "here.toml: [project] lacks 'model'."),
        (f"{HEAD}format = 2\n", "here.toml: [project] format: Input should be less than or equal to 1 (given: 2)."),
        (f"ppo = 3\n{HEAD}", "here.toml: [ppo]: Input should be an object."),
        ('[project]\nname = ""\ntask = "answer"\nmodel = "m"\n', "here.toml: [project] name: "),
    ],
)
def test_what_is_missing_or_of_another_format(text: str, what: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(text, "here.toml")
    assert raised.value.what.startswith(what)
    assert raised.value.remedy


@pytest.mark.parametrize("key", REFUSED_SAMPLING)
def test_a_truncated_distribution_is_refused_with_its_reason(key: str) -> None:
    with pytest.raises(SettingsError, match=f"has no key '{key}'.*ratios wrong"):
        parse(f"{HEAD}[sampling]\n{key} = 1\n")


@pytest.mark.parametrize("key", ["key", "api_key", "apikey", "API_KEY", "token", "password", "authorization"])
def test_the_key_of_a_judge_is_refused_in_the_file_and_not_shown(key: str) -> None:
    with pytest.raises(SettingsError, match=rf"has no key '{key}'.*EXPOUND_JUDGE_KEY") as raised:
        parse(f'{HEAD}{JUDGE}{key} = "sesame"\n')
    assert "sesame" not in str(raised.value)


@pytest.mark.parametrize("address", ["https://me:sesame@a.example/v1", "https://a.example/v1?key=sesame"])
def test_a_secret_in_the_address_of_a_judge_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(SettingsError, match=r"\[judge\]: endpoint holds more.*EXPOUND_JUDGE_KEY") as raised:
        parse(f'{HEAD}[judge]\nmodel = "m"\nendpoint = "{address}"\n')
    assert "sesame" not in str(raised.value)


def test_people_and_a_judge_make_a_panel() -> None:
    settings = parse(f'{HEAD}[panel]\nkinds = ["people", "judge"]\n{JUDGE}')
    assert settings.judge is not None
    assert settings.judge.model == "m"
    assert undump(dump(settings)) == settings
    assert changed_keys(parse(HEAD), settings) == (
        "judge.at_once",
        "judge.endpoint",
        "judge.model",
        "judge.per_minute",
        "judge.seconds",
        "panel.kinds",
    )


def test_what_a_first_project_needs_is_enough() -> None:
    settings = parse(HEAD)
    assert settings.panel.kinds == ("people",)
    assert settings.asking.ballots == ("comparison",)


def test_settings_survive_the_book() -> None:
    settings = parse(f"{HEAD}seed = 7\n[panel]\nkinds = ['simulated']\n[asking]\nballots = ['rating']\ncount = 9\n")
    assert undump(dump(settings)) == settings
    assert dump(undump(dump(settings))) == dump(settings)


def test_every_default_is_written_out() -> None:
    text = dump(parse(f"{HEAD}{JUDGE}"))
    assert all(f'"{key}"' in text for key, _ in fields())


def test_changed_keys_are_named_by_table() -> None:
    before = parse(HEAD)
    after = parse(f"{HEAD}seed = 3\n[ppo]\nepochs = 5\n[site]\nport = 1\n")
    assert changed_keys(before, after) == ("ppo.epochs", "project.seed", "site.port")
    assert changed_keys(before, before) == ()


def fields() -> list[tuple[str, FieldInfo]]:
    found: list[tuple[str, FieldInfo]] = []
    for table in Settings.model_fields.values():
        kinds = [kind for kind in (table.annotation, *get_args(table.annotation)) if isinstance(kind, type)]
        (section,) = (kind for kind in kinds if issubclass(kind, Section))
        found.extend(section.model_fields.items())
    return found


def test_there_are_at_most_sixty_keys_and_each_has_a_sentence() -> None:
    assert len(fields()) <= 60
    for name, field in fields():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.description[0].isupper() or field.description.startswith("people"), name
