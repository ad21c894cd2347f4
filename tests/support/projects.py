"""Project folders for whole-loop tests: short prompts of ours, a tiny model, few updates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SITUATIONS = (
    (
        "The ferry stopped at noon. Wind tore the rope, so the ramp fell. The captain counted 3 knots in it.",
        "ferry stop",
        ("rope", "tore|broke"),
        ("ramp", "fell|drop"),
        ("3|three", "knot"),
    ),
    (
        "Bread stayed flat today. The kitchen was cold, and yeast is slow then. The glass read 9 degrees.",
        "bread stay flat",
        ("kitchen", "cold"),
        ("yeast", "slow"),
        ("9|nine", "degree"),
    ),
    (
        "A tree lay on the rails. The train waited while men sawed it. Two of them came from Lund.",
        "train wait",
        ("tree", "rail"),
        ("men", "saw"),
        ("two", "lund"),
    ),
    (
        "The lamp flickers at night. The lift hangs on the same cable and takes its power. A meter showed 90 volts.",
        "lamp flicker",
        ("lift", "cable"),
        ("take", "power"),
        ("90", "volt"),
    ),
    (
        "The bees left in June. A second queen hatched and the hive grew too small. The keeper saw 2 queens.",
        "bees leave",
        ("queen", "hatch"),
        ("hive", "small"),
        ("2|two", "queen"),
    ),
    (
        "The pump ran dry. A valve was closed by the night shift. The log shows error 37.",
        "pump run dry",
        ("valve", "closed"),
        ("night", "shift"),
        ("error", "37"),
    ),
    (
        "The choir began late. The bus with the basses broke down. Its engine had boiled.",
        "choir begin late",
        ("bus", "broke"),
        ("basses|bass",),
        ("engine", "boil"),
    ),
    (
        "The lake turned green. Rain washed manure into it and algae grew. Tests found 4 grams.",
        "lake turn green",
        ("manure", "wash"),
        ("algae", "grew|grow"),
        ("4|four", "gram"),
    ),
)


@dataclass(frozen=True)
class Shape:
    """What a test project is like."""

    panel: str = "simulated"
    updates: int = 2
    episodes: int = 8
    count: int = 12
    seed: int = 0
    port: int = 0

    def toml(self, model: Path | str) -> str:
        ballots = '["comparison", "rating"]' if self.panel == "simulated" else '["comparison"]'
        overlap = "overlap = 3\noverlap_share = 1.0" if self.panel == "simulated" else "overlap_share = 0.0"
        return (
            f'[project]\nname = "test"\ntask = "answer"\nmodel = {json.dumps(str(model))}\nseed = {self.seed}\n'
            f'[panel]\nkinds = ["{self.panel}"]\n'
            f"[asking]\nballots = {ballots}\ncount = {self.count}\n{overlap}\n"
            f"[sampling]\nmax_new_tokens = 12\nresponses_per_prompt = 4\n"
            f"[ppo]\nupdates = {self.updates}\nepisodes = {self.episodes}\nepochs = 2\nminibatches = 2\n"
            f"learning_rate = 1e-3\n[measuring]\nresponses = 2\n[site]\nport = {self.port}\n"
        )


def prompt_lines() -> list[dict[str, object]]:
    """Return the prompts: five to train on, three held out."""
    lines: list[dict[str, object]] = []
    for index, (source, effect, reason, mechanism, evidence) in enumerate(SITUATIONS):
        lines.append(
            {
                "id": effect.replace(" ", "-"),
                "split": "train" if index < 5 else "held_out",
                "text": f"Why did the {effect}?",
                "source": source,
                "meta": {
                    "facts": {"reason": list(reason), "mechanism": list(mechanism), "evidence": list(evidence)},
                    "side": [["apron"]],
                    "wrong": [["ghost"]],
                    "ideal": source,
                },
            }
        )
    return lines


def make_project(folder: Path, model: Path | str, shape: Shape | None = None) -> Path:
    """Write a project folder and return it."""
    (folder / "prompts").mkdir(parents=True)
    (folder / "project.toml").write_text((shape or Shape()).toml(model), encoding="utf-8")
    text = "".join(json.dumps(line) + "\n" for line in prompt_lines())
    (folder / "prompts" / "prompts.jsonl").write_text(text, encoding="utf-8")
    return folder


def make_learning_project(folder: Path, seed: int = 0) -> Path:
    """Write a project in which a reward can be seen to go up: a sharper model beside it, and updates enough."""
    from tests.support.tiny import save_tiny  # here, so that tests without models start quickly

    model = save_tiny(folder.parent / f"{folder.name}-model", sharpness=4.0)
    make_project(folder, model, Shape(panel="people", updates=16, episodes=32, seed=seed))
    settings = folder / "project.toml"
    text = settings.read_text(encoding="utf-8").replace("learning_rate = 1e-3", "learning_rate = 2e-3\nkl_target = 6")
    settings.write_text(text.replace("epochs = 2", "epochs = 4"), encoding="utf-8")
    return folder
