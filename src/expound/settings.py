"""Every knob of every step, parsed from project.toml. What nobody should turn is a constant beside its formula."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from expound.errors import InputError, SettingsError, nearest
from expound.records import BallotKind

FORMAT = 1
Auto = Literal["auto"]
Estimator = Literal["gae", "rloo", "grpo"]
Positive = Annotated[int, Field(ge=1)]
FunctionKind = Literal["score function", "ranking function"]
PanelKind = Literal["people", "judge", "simulated", "score function", "ranking function"]
FUNCTIONS: tuple[FunctionKind, ...] = get_args(FunctionKind)
CHANGE = "Change it and run the same command again."
LONGEST = 80  # characters of a key or value that are shown
# What a value must be, by pydantic's name of the mistake.
MUST: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "too_short": "a list of at least one",
    "string_too_short": "a text of at least one character",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
SECRETS = ("key", "token", "secret", "password", "auth", "bearer")
ADDED = "/chat/completions"
NO_ADDRESS = f"endpoint is no address to which {ADDED} can be added, such as http://127.0.0.1:8080/v1"
REFUSED_SAMPLING = ("top_k", "top_p", "min_p", "repetition_penalty", "no_repeat_ngram_size")


class Section(BaseModel):
    """A table of project.toml; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ProjectSettings(Section):
    """What the project is."""

    format: int = Field(FORMAT, ge=1, le=FORMAT, description="Version of the folder's format.")
    name: str = Field(min_length=1, description="What the project is called on pages and reports.")
    task: str = Field(
        description="Kind of explanation: answer, diagnosis, recommendation, summary, or the name in your task.toml."
    )
    model: str = Field(
        min_length=1, description="Model reference: package:MODULE/FILE, a folder, a .gguf file or a hub name."
    )
    prompts: str = Field("prompts/*", min_length=1, description="Prompt files, relative to the project folder.")
    seed: int = Field(0, ge=0, description="Everything random follows from it.")

    @model_validator(mode="after")
    def _prompts_inside(self) -> ProjectSettings:
        if self.prompts.startswith("/"):
            raise ValueError(f"prompts = '{self.prompts}' is absolute; name the files from the project folder on")
        return self


class PanelSettings(Section):
    """Who judges."""

    kinds: tuple[PanelKind, ...] = Field(
        ("people",), min_length=1, description="people, judge or both; or simulated alone."
    )

    @property
    def function(self) -> FunctionKind | None:
        """Return what the user's own function does in a round that was begun with one."""
        return next((kind for kind in FUNCTIONS if kind in self.kinds), None)

    @property
    def is_scored(self) -> bool:
        """Return whether the user's own function is the reward: nobody is asked, nothing is settled or fitted."""
        return self.function == "score function"

    @model_validator(mode="after")
    def _simulated_alone(self) -> PanelSettings:
        if "simulated" in self.kinds and len(self.kinds) > 1:
            raise ValueError("a simulated panel is never mixed with others; give one kind")
        return self


class JudgeSettings(Section):
    """A model judge behind an OpenAI-compatible endpoint; its key comes from the environment alone."""

    endpoint: str = Field(description="Address that /chat/completions is added to.")
    model: str = Field(min_length=1, description="Name of the model there.")
    seconds: float = Field(60.0, gt=0, le=3600, description="Seconds after which a request is given up.")
    at_once: int = Field(4, ge=1, le=64, description="Requests under way at once.")
    per_minute: float = Field(600.0, gt=0, description="Requests a minute, at most.")

    @model_validator(mode="after")
    def _address_alone(self) -> JudgeSettings:
        """Refuse an address with a secret in it, without showing it, and one that cannot be added to."""
        try:
            address = urlsplit(self.endpoint)
            port = address.port
        except ValueError as error:
            raise ValueError(NO_ADDRESS) from error
        if "@" in address.netloc or address.query or address.fragment:
            raise ValueError(
                "endpoint holds more than an address; keep keys and passwords out of files, "
                "and set the environment variable EXPOUND_JUDGE_KEY"
            )
        is_web = address.scheme in ("http", "https")
        if not is_web or not address.hostname or port == 0 or self.endpoint.rstrip("/").endswith(ADDED):
            raise ValueError(NO_ADDRESS)
        return self


class AskingSettings(Section):
    """What the raters are asked in a round."""

    ballots: tuple[BallotKind, ...] = Field(("comparison",), min_length=1, description="Kinds of question.")
    criteria: tuple[str, ...] = Field((), description="Criteria that ratings ask about; none named: all of the task.")
    count: Positive | Auto = Field("auto", description="Questions of a kind; auto: 2 a train prompt, 60 to 600.")
    overlap: int = Field(3, ge=1, le=20, description="Raters who answer an overlapping question.")
    overlap_share: float = Field(0.2, ge=0, le=1, description="Share of the questions that overlap, held-out too.")


class SamplingSettings(Section):
    """How responses are drawn. The distribution is never truncated: PPO needs the probabilities it samples from."""

    temperature: float = Field(0.7, gt=0, le=2, description="Divides policy's and reference's logits.")
    max_new_tokens: int = Field(128, ge=1, le=4096, description="Tokens after which a response is cut.")
    responses_per_prompt: int = Field(
        4, ge=2, le=64, description="Responses a prompt, judged and in PPO; the first round judges half as many again."
    )


class RewardSettings(Section):
    """The reward model."""

    members: int = Field(4, ge=1, le=16, description="Members; their spread is the reward's uncertainty.")


Mode = Literal["branches", "lora", "full"]


class PpoSettings(Section):
    """Proximal policy optimisation."""

    mode: Mode = Field(
        "branches", description="What learns: deltas on the last layers, on all (lora), or the whole model (full)."
    )
    live_layers: Positive | Literal["third"] = Field(
        "third", description="Layers that learn in branches, from the top."
    )
    updates: Annotated[int, Field(ge=1, le=1000)] | Auto = Field(
        "auto", description="Updates a round; auto: 8 to 80, so that tuning takes about ten minutes on this machine."
    )
    episodes: Annotated[int, Field(ge=2)] | Auto = Field(
        "auto",
        description="Responses sampled for an update; auto: about 64, or 32 where eight take too long.",
    )
    epochs: int = Field(4, ge=1, le=16, description="Passes over the responses of an update.")
    minibatches: int = Field(4, ge=1, le=64, description="Optimiser steps in a pass.")
    learning_rate: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="AdamW's, falling; auto: 2e-4, and 3e-6 in mode full."
    )
    kl_weight: float = Field(
        0.05, ge=0, description="Weight of the KL to the reference, at the start: in the reward, or as a loss (grpo)."
    )
    kl_target: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto", description="Nats a response the controller holds; auto: 0.1 a token, at most 6; 0: weight is fixed."
    )
    estimator: Estimator = Field(
        "gae", description="Of advantages: gae trains a value; rloo and grpo compare the responses to a prompt."
    )
    caution: float = Field(1.0, ge=0, description="Standard deviations of the members taken from the reward.")

    @model_validator(mode="after")
    def _live_layers_are_of_branches(self) -> PpoSettings:
        if self.mode != "branches" and self.live_layers != "third":
            raise ValueError(f'live_layers is of mode "branches"; in mode "{self.mode}" every layer learns')
        return self


class MeasuringSettings(Section):
    """What is asked about held-out prompts."""

    responses: int = Field(1, ge=1, le=16, description="Responses a held-out prompt and side; one comparison each.")
    overlap: int = Field(1, ge=1, le=20, description="Raters who answer an overlapping held-out comparison.")


class StoppingSettings(Section):
    """When to stop going round."""

    max_rounds: int = Field(5, ge=1, le=100, description="Rounds after which the project ends.")


class SiteSettings(Section):
    """The rating site."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8800, ge=0, le=65535, description="Port to listen on; 0: any free one.")


class Settings(Section):
    """All of project.toml."""

    project: ProjectSettings
    panel: PanelSettings = PanelSettings()
    judge: JudgeSettings | None = None
    asking: AskingSettings = AskingSettings()
    sampling: SamplingSettings = SamplingSettings()
    reward: RewardSettings = RewardSettings()
    ppo: PpoSettings = PpoSettings()
    measuring: MeasuringSettings = MeasuringSettings()
    stopping: StoppingSettings = StoppingSettings()
    site: SiteSettings = SiteSettings()

    @model_validator(mode="after")
    def _judge_is_told(self) -> Settings:
        if "judge" in self.panel.kinds and self.judge is None:
            raise ValueError("[panel] has a judge, but there is no table [judge]; give it an endpoint and a model")
        return self

    @model_validator(mode="after")
    def _episodes_divide(self) -> Settings:
        unit = self.sampling.responses_per_prompt * self.ppo.minibatches
        if self.ppo.episodes != "auto" and self.ppo.episodes % unit:
            lower = max(1, self.ppo.episodes // unit) * unit
            raise ValueError(
                f"[ppo] episodes = {self.ppo.episodes} is no multiple of responses_per_prompt x minibatches = {unit}; "
                f"use {lower} or {lower + unit}"
            )
        return self


def parse(text: str, where: str = "project.toml") -> Settings:
    """Return the settings that the text of a project.toml holds.

    Errors: SettingsError for broken TOML, an unknown table or key (with the nearest name), a value out of range.
    """
    try:
        settings = Settings.model_validate_json(toml_as_json(text, where, SettingsError))
    except ValidationError as error:
        raise _explain(error, where) from error
    if settings.panel.function is not None:
        raise SettingsError(
            f"{where}: [panel] kinds: a function cannot stand in a file.",
            "Give the function to project.run(feedback=...) or project.run(ranking=...), in Python.",
        )
    return settings


def toml_as_json(text: str, where: str, error: type[InputError]) -> str:
    """Return the tables of a TOML file as JSON, in which strict models take an array for a tuple.

    Errors: `error`, with `where`, for what is no TOML.
    """
    try:
        return json.dumps(tomllib.loads(text), default=str)
    except tomllib.TOMLDecodeError as trouble:
        raise error(f"{where} is not valid TOML: {trouble}.", "Mend that line.") from trouble
    except ValueError as trouble:
        raise error(f"{where} holds a number that is too long.", "Shorten it.") from trouble
    except RecursionError as trouble:
        raise error(f"{where} is nested too deeply.", "Write the keys below tables, as in the reference.") from trouble


def dump(settings: Settings) -> str:
    """Return the settings as canonical JSON, every default written out."""
    return json.dumps(settings.model_dump(mode="json"), sort_keys=True, indent=1)


def undump(text: str) -> Settings:
    """Return the settings that `dump` wrote."""
    return Settings.model_validate_json(text)


def with_function(settings: Settings, kind: FunctionKind | None) -> Settings:
    """Return the settings of a round in which the user's own function judges alone; unchanged where there is none.

    It says the same every time, so no question overlaps. One that ranks is asked for rankings, and for comparisons.
    """
    if kind is None:
        return settings
    asking: dict[str, object] = {"overlap": 1, "overlap_share": 0.0}
    if kind == "ranking function":
        asking["ballots"] = ("ranking", "comparison")
    changed = {"panel": PanelSettings(kinds=(kind,)), "asking": settings.asking.model_copy(update=asking)}
    return settings.model_copy(update=changed)


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the keys that differ, as "table.key"."""
    before, after = ({name: one or {} for name, one in two.model_dump(mode="json").items()} for two in (old, new))
    return tuple(
        f"{table}.{key}"
        for table in sorted(after)
        for key in sorted({*before[table], *after[table]})
        if before[table].get(key) != after[table].get(key)
    )


def first_mistake(error: ValidationError) -> ErrorDetails:
    """Return the mistake to tell: an unknown key, which is often the slip for a missing one, or the first."""
    found = error.errors()
    return next((one for one in found if one["type"] == "extra_forbidden"), found[0])


def must(mistakes: Sequence[ErrorDetails]) -> str:
    """Return in words what a value must be; one of several types is refused once for each of them."""
    return f"must be {' or '.join(dict.fromkeys(map(_wanted, mistakes)))}"


def _wanted(mistake: ErrorDetails) -> str:
    if mistake["type"] == "literal_error":
        *most, last = (f'"{word}"' for word in _words(mistake))
        return f"{', '.join(most)} or {last}" if most else last
    words = MUST.get(mistake["type"], mistake["msg"].removeprefix("Input should be "))
    return words.format(**mistake.get("ctx", {}))


def _words(mistake: ErrorDetails) -> list[str]:
    return [word for word in re.findall("'(.*?)'", mistake["ctx"]["expected"]) if word not in FUNCTIONS]


def shown(value: object) -> str:
    """Return a value as the file spells it, or nearly so."""
    return json.dumps(value, ensure_ascii=False, default=str)[:LONGEST]


def _explain(error: ValidationError, where: str) -> SettingsError:
    first = first_mistake(error)
    path, given = tuple(str(step)[:LONGEST] for step in first["loc"]), first["input"]
    match first["type"]:
        case "extra_forbidden":
            if len(path) == 1 and not isinstance(given, Mapping):
                return SettingsError(f"{where}: '{path[0]}' stands above every table.", "Put it below its [table].")
            return _unknown(path, where)
        case "missing":
            table = f"[{path[0]}]"
            what = f"{where}: {table} is missing." if len(path) == 1 else f"{where}: {table} lacks '{path[1]}'."
            return SettingsError(what, "Add it.")
        case "value_error":
            place = f"[{path[0]}]: " if path else ""
            return SettingsError(f"{where}: {place}{first['msg'].removeprefix('Value error, ')}.", CHANGE)
        case "less_than_equal" if path == ("project", "format"):
            what = f"{where} has the format {given}, and this version of expound knows formats up to {FORMAT}."
            return SettingsError(what, "Update expound.")
    same = [one for one in error.errors() if one["loc"][:2] == first["loc"][:2] and repr(one["input"]) == repr(given)]
    what = f"{where}: [{path[0]}] {' '.join((*path[1:2], must(same)))}"
    is_word = first["type"] == "literal_error" and isinstance(given, str)
    return SettingsError(
        f"{what}, not {shown(given)}." if len(path) > 1 else f"{what}.",
        nearest(given, _words(first)) if is_word else CHANGE,
    )


def _unknown(path: tuple[str, ...], where: str) -> SettingsError:
    key = path[-1]
    if len(path) == 1:
        return SettingsError(f"{where}: there is no table [{key}].", nearest(key, list(Settings.model_fields)))
    what = f"{where}: [{path[0]}] has no key '{key}'."
    if path[0] == "sampling" and key in REFUSED_SAMPLING:
        return SettingsError(what, "A truncated distribution would make PPO's ratios wrong; use temperature alone.")
    if path[0] == "judge" and any(secret in key.lower() for secret in SECRETS):
        return SettingsError(what, "Keep the key out of files: set the environment variable EXPOUND_JUDGE_KEY.")
    section = JudgeSettings if path[0] == "judge" else Settings.model_fields[path[0]].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    return SettingsError(what, nearest(key, list(section.model_fields)))
