"""The hidden gold utility of the examples: how well a response tells reason, mechanism and evidence, 0 to 1.

The simulated raters see it through noise; nothing that learns may read it. It is built so that nothing can be added
to a response from outside: stock phrases, causal words and full stops earn nothing, only facts do.
It reads words, not meaning: beyond the listed wrong wordings it does not see a polarity turned round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from expound.errors import PromptError
from expound.panel.order import DETERMINERS, GRAMMAR, Neighbours, Spelling, is_ordered
from expound.records import Json
from expound.text import (
    copied_words,
    finished_part,
    is_function_word,
    lower_words,
    names,
    numbers,
    repeated_ngrams,
    sentences,
    stem,
    words,
)


def _members(told: object) -> tuple[str, ...]:
    """Read a group such as "closed|shut"."""
    members = told.split("|") if isinstance(told, str) else [""]
    if any(not member or member != member.strip().lower() for member in members):
        raise ValueError(f"{told!r} is no group")
    return tuple(members)


Group = Annotated[tuple[str, ...], BeforeValidator(_members)]
Fact = Annotated[tuple[Group, ...], Field(min_length=1)]

FACT_WEIGHTS = {"reason": 0.5, "mechanism": 0.3, "evidence": 0.2}
PARTIAL = 0.3
CUT = 0.8
CAUSAL = frozenset(
    "because since as due so therefore cause causes caused causing led leads reason owing thanks".split()
)
# Words about the text, not about its matter: an answer may use them, but they carry nothing.
STOCK = frozenset(
    "text texts passage passages story article author writer source narrative paragraph sentence information detail"
    " details context description account reason reasons evidence evidenced answer answers question fact facts"
    " explanation explanations conclusion conclude concludes concluded summary example case thing things way clear"
    " clearly true truly correct correctly obvious obviously evident evidently certain certainly sure surely say says"
    " said saying state states stated stating statement tell tells told mention mentions mentioned show shows showed"
    " shown showing indicate indicates indicated suggest suggests suggested explain explains explained describe"
    " describes described prove proves proved proof demonstrate demonstrates demonstrated confirm confirms confirmed"
    " support supports supported imply implies implied mean means meant hope hopes helps help helped helpful"
    " understand understood understanding see seen according accordingly based given reader readers due cause causes"
    " caused result results resulted consequence consequently finally lastly first firstly second secondly overall"
    " important importantly note effect effects yes reading read thanks noted doubt think believe know known simply"
    " indeed actually basically really follow follows following happen happens happened let thank please sense"
    " briefly recommend recommends recommended recommending recommendation recommendations".split()
)

GLUE = STOCK | frozenset("because so therefore thus hence why this since as".split())


class Facts(BaseModel):
    """What a right answer to one prompt says, and what it must not say.

    A fact is a tuple of groups, a group a tuple of word starts; one sentence has to hold a member of every group.
    """

    model_config = ConfigDict(frozen=True)

    reason: Fact = Field(validation_alias=AliasPath("facts", "reason"))
    mechanism: Fact = Field(validation_alias=AliasPath("facts", "mechanism"))
    evidence: Fact = Field(validation_alias=AliasPath("facts", "evidence"))
    side: tuple[Fact, ...]
    wrong: tuple[Fact, ...]
    ideal: str = Field(pattern=r"\S")

    @staticmethod
    def parse(meta: Mapping[str, Json], where: str = "a prompt") -> Facts:
        """Read the facts from a prompt's meta. Errors: PromptError where a part is missing or has another form."""
        try:
            return Facts.model_validate(meta)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise PromptError(
                f"The meta of {where} has no usable '{place}': {first['msg']}.",
                'Write each fact as a list of groups of word starts in lower case, such as ["window", "closed|shut"].',
            ) from error

    def weighted(self) -> tuple[tuple[Fact, float], ...]:
        """Return the three facts with their weights."""
        return tuple(zip((self.reason, self.mechanism, self.evidence), FACT_WEIGHTS.values(), strict=True))


def ramp(x: float, start: float, end: float) -> float:
    """Rise from 0 at `start` to 1 at `end`."""
    return min(1.0, max(0.0, (x - start) / (end - start)))


def pieces(text: str) -> tuple[str, ...]:
    """List the words of text in lower case, a hyphenated word also as its parts."""
    found: list[str] = []
    for word in (one.removesuffix("'s").strip("'") for one in lower_words(text)):
        parts = [part for part in word.replace(":", "-").split("-") if part]
        found += [word, *parts] if len(parts) > 1 else [word]
    return tuple(found)


def groups_found(fact: Fact, held: Sequence[str], asked: Sequence[str] = ()) -> int:
    """Count the groups of a fact of which a word in `held` begins with a member.

    Members that begin a word of the question (`asked`) are left out, unless they are all there is.
    """
    found = 0
    for group in fact:
        own = tuple(member for member in group if not any(word.startswith(member) for word in asked)) or group
        found += any(word.startswith(own) for word in held)
    return found


def is_found(fact: Fact, held: Sequence[str], asked: Sequence[str] = ()) -> bool:
    """Say whether every group of a fact is found among the words of one sentence."""
    return groups_found(fact, held, asked) == len(fact)


@dataclass(frozen=True)
class _Material:
    """Question and source as stems and words."""

    asked: tuple[str, ...]
    asked_stems: frozenset[str]
    stems: frozenset[str]
    words: frozenset[str]
    numbers: frozenset[str]
    spelling: Spelling
    neighbours: Neighbours


@lru_cache(maxsize=256)
def _material(question: str, source: str) -> _Material:
    """Read the material; kept, because a prompt has many responses."""
    return _Material(
        pieces(question),
        frozenset(stem(word) for word in pieces(question) if _carries(word)),
        frozenset(stem(word) for word in pieces(f"{source} {question}") if _carries(word)),
        frozenset(pieces(f"{source} {question}")),
        numbers(f"{source} {question}") | {"1"},
        Spelling.of(source, question),
        Neighbours.of([_stemmed(pieces(part)) for part in (*sentences(source), question)]),
    )


@dataclass(frozen=True)
class _Sentence:
    """A sentence of a response: its words, their stems known from the material, and how far it counts, 0 to 1.

    `told` are the words that may tell a fact: those of `held` without talk about the text at both ends.
    `is_sound` says that its words may stand in their order, whatever they are about.
    """

    held: tuple[str, ...]
    told: tuple[str, ...]
    length: int
    grounded: frozenset[str]
    foreign: int
    is_sound: bool
    order: float


def _carries(word: str) -> bool:
    """Say whether a word carries matter: neither grammar nor talk about the text."""
    return not is_function_word(word) and word not in STOCK


def _stemmed(tokens: Sequence[str]) -> tuple[str, ...]:
    """Bring words that carry matter to their stems and leave the others."""
    return tuple(stem(word) if _carries(word) else word for word in tokens)


def _core(tokens: Sequence[str], known: frozenset[str]) -> tuple[str, ...]:
    """Keep what lies between the first and the last word known from the material, with an article before it."""
    places = [place for place, word in enumerate(tokens) if _carries(word) and stem(word) in known]
    if not places:
        return ()
    start = places[0] - (places[0] > 0 and tokens[places[0] - 1] in DETERMINERS)
    return tuple(tokens[start : places[-1] + 1])


def _trimmed(tokens: Sequence[str]) -> tuple[str, ...]:
    """Cut runs of small words and talk about the text off both ends where they hold such talk."""
    places = [place for place, word in enumerate(tokens) if _carries(word)]
    if not places:
        return ()
    first, last = places[0], places[-1] + 1
    start = first if STOCK & set(tokens[:first]) else 0
    end = last if STOCK & set(tokens[last:]) else len(tokens)
    return tuple(tokens[start:end])


def _may_count(sentence: str, core: Sequence[str], grounded: frozenset[str], asked: frozenset[str]) -> bool:
    """Say whether a sentence says something beyond the question, in words that hang together.

    A core with too few or too many small words is a list of keywords or says nothing.
    """
    small = sum(map(is_function_word, core)) / max(1, len(core))
    is_question = sentence.rstrip("\"'”’)").endswith("?")
    is_matter = len(grounded) >= 2 and not grounded <= asked
    return is_matter and 0.12 <= small <= 0.75 and not GRAMMAR.isdisjoint(core) and len(core) <= 45 and not is_question


def _read(sentence: str, material: _Material) -> _Sentence:
    """Measure one sentence of a response."""
    tokens, held = lower_words(sentence), pieces(sentence)
    carried = [stem(word) for word in held if _carries(word)]
    grounded = frozenset(carried) & material.stems
    foreign = sum(word not in material.stems for word in carried)
    core = _core(tokens, material.stems)
    is_sound = not sentence[0].islower() and is_ordered(sentence, material.spelling)
    order = 0.0
    if is_sound and _may_count(sentence, core, grounded, material.asked_stems):
        # Foreign words say nothing about order, only about ground.
        known = [word for word in _stemmed(core) if is_function_word(word) or word in material.stems]
        order = ramp(material.neighbours.familiarity(known), 0.1, 0.5) * ramp(1 - foreign / len(carried), 0.3, 0.6)
    told = pieces(" ".join(_trimmed(tokens)))
    return _Sentence(held, told, len(tokens), grounded, foreign, is_sound, order)


def _is_glued(sentence: str) -> bool:
    """Say whether a sentence ends in small words among which is talk about the text or about causes."""
    tokens = lower_words(sentence)
    last = max((place for place, word in enumerate(tokens) if _carries(word)), default=-1)
    return bool(GLUE & set(tokens[last + 1 :]))


def _whole(text: str, *, finished: bool) -> str:
    """Drop the tail that the token limit left, and last sentences whose stop may have been glued to such a tail."""
    if finished:
        return text
    kept = finished_part(text)
    while kept and _is_glued(sentences(kept)[-1]):
        kept = finished_part(kept[: kept.rindex(sentences(kept)[-1])])
    return kept


def _facts_told(counting: Sequence[_Sentence], facts: Facts, material: _Material) -> float:
    """Add up the weights of the facts found; a fact found in part earns a part of PARTIAL of its weight."""
    told = 0.0
    for fact, weight in facts.weighted():
        shares = [(one.order, groups_found(fact, one.told, material.asked) / len(fact)) for one in counting]
        told += weight * max(
            (order * (1.0 if share == 1.0 else PARTIAL * share) for order, share in shares), default=0.0
        )
    return told


def _effect_named(counting: Sequence[_Sentence], facts: Facts, material: _Material) -> float:
    """Say how far a sentence with the reason also names what was asked about: two words of the question are enough."""
    telling = [one for one in counting if is_found(facts.reason, one.told, material.asked)]
    return max((one.order * ramp(len(one.grounded & material.asked_stems), 0, 2) for one in telling), default=0.0)


def _side_cost(read: Sequence[_Sentence], facts: Facts, material: _Material) -> float:
    """Halve for each side fact (two at most) that is given as the cause, and take a fifth where it is only told."""
    factor = 1.0
    for side in facts.side[:2]:
        holding = [one for one in read if is_found(side, one.held)]
        causal = any(CAUSAL & set(one.held) or is_found(facts.reason, one.held, material.asked) for one in holding)
        factor *= 0.5 if causal else 0.8 if holding else 1.0
    return factor


def _faults(text: str, source: str, material: _Material) -> float:
    """Multiply what repetition, copying, length and unsupported numbers and names leave of a response.

    All are absolute counts, not shares: no added word can make them smaller.
    """
    repeated = ramp(repeated_ngrams(text), 1, 8)
    copied = ramp(copied_words(text, source), 4, 14)
    length = ramp(len(words(text)), 60, 90)
    strangers = sum(not material.words.issuperset(pieces(name)) for name in names(text))
    invented = len(numbers(text) - material.numbers) + strangers
    return (1 - repeated) * (1 - 0.9 * copied) * (1 - length) * (1 - 0.2 * min(3, invented))


def gold_utility(text: str, *, question: str, source: str, facts: Facts, finished: bool = True) -> float:
    """Return how well a response answers the question from its source, 0 to 1.

    Only sentences count that are in order, on the matter and grounded in the source. Facts told weigh .65, naming the
    effect beside its reason .10, staying within the material .25. Everything else can only take away.
    """
    kept = _whole(text, finished=finished)
    material = _material(question, source)
    read = [_read(one, material) for one in sentences(kept)]
    counting = [one for one in read if one.order > 0]
    best = max((one.order for one in counting), default=0.0)
    told = _facts_told(counting, facts, material)
    within = 1 - ramp(sum(one.foreign for one in read), 1, 8)
    grounding = within * (0.3 + 0.7 * min(1.0, told / FACT_WEIGHTS["reason"]))
    worth = 0.65 * told + 0.10 * _effect_named(counting, facts, material) + 0.25 * best**2 * grounding
    size = ramp(len(frozenset().union(*(one.grounded for one in counting))), 0, 4)
    idle = 1 - 0.6 * ramp(sum(one.length * (1 - one.order) for one in read), 0, 25)
    unsound = 0.3 ** sum(not one.is_sound for one in read)
    wrong = 0.4 ** sum(any(is_found(fact, one.held) for one in read) for fact in facts.wrong)
    total = worth * size * idle * unsound * wrong * _side_cost(read, facts, material) * _faults(kept, source, material)
    return total * (1.0 if finished else CUT)
