"""Whether the words of a sentence stand in an order that English allows.

No grammar: tables of small words that are no neighbours, and how far the order is known from the material.
Measured on the example's prompts: honest sentences of its ideals pass, shuffled words rarely do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from expound.text import FUNCTION_WORDS, WORD, is_ended, ngrams, sentences, words

DETERMINERS = frozenset("the a an my your their its our every".split())
_SUBJECTS = frozenset("i he we they".split())
_BE = frozenset("is are was were am".split())
_HAVE = frozenset("has have had".split())
_DO = frozenset("do does did".split())
_MODALS = frozenset("will would shall should can could may might must cannot".split())
_FINITE = _BE | _HAVE | _DO | _MODALS
_JOINERS = frozenset("and or but nor".split())
_CLAUSE = frozenset("because although though if unless while whereas since when".split())
_PREPOSITIONS = frozenset(
    "of at for from with into onto upon during despite per via among between toward towards against without"
    " within".split()
)
_PLACES = frozenset("in on by to over under above below through throughout across along around near".split())
_LATE = _PREPOSITIONS | _JOINERS | _CLAUSE | frozenset({"than"})

_AFTER_DETERMINER = frozenset(
    "own other same most more less least few many little much very only half another rather just still already once"
    " even almost quite inside outside above too never not off up down".split()
)
_BEFORE_OF = frozenset(
    "out inside outside because instead up off down most many much some any all each one none either neither both"
    " half few little more less least this that these those what mine yours his hers ours theirs here other others"
    " same own which not and or but is was are".split()
)
_FORBIDDEN: dict[str, frozenset[str]] = {
    **dict.fromkeys(DETERMINERS, FUNCTION_WORDS - _AFTER_DETERMINER),
    **dict.fromkeys(_PREPOSITIONS, _FINITE | _SUBJECTS | _LATE | {"to"}),
    **{word: _FINITE | _SUBJECTS | {"of"} for word in ("in", "on", "by")},
    **{word: (_FINITE | DETERMINERS | _LATE | _SUBJECTS) - {"have", "do"} for word in _MODALS},
    **{word: _FINITE | _SUBJECTS | _JOINERS | frozenset("of than if be which who whose".split()) for word in _BE},
    **{word: (_FINITE | _SUBJECTS | _LATE | frozenset({"be"})) - {"for", "from", "had", "when"} for word in _HAVE},
    **{word: _FINITE | _JOINERS | frozenset("of than be been".split()) for word in _DO},
    **{word: _FINITE | _JOINERS | frozenset({"than"}) for word in _CLAUSE},
    **{word: frozenset("and or but nor than".split()) for word in _JOINERS},
    **{word: DETERMINERS | _LATE | _PLACES | _SUBJECTS | {"it"} - _JOINERS for word in _SUBJECTS},
    "to": (_FINITE - {"have", "do"}) | _LATE | _SUBJECTS | _PLACES | frozenset({"been"}),
    "it": _SUBJECTS | {"it"},
    "than": _JOINERS | frozenset({"of", "than", "because"}),
    "very": DETERMINERS | _FINITE | _PREPOSITIONS | _SUBJECTS | _JOINERS,
    **dict.fromkeys(("be", "been"), _FINITE | _SUBJECTS | frozenset({"been", "be", "of", "than"})),
}
# Words that hold a sentence together; adverbs such as again or down do not.
GRAMMAR = frozenset(
    "be been being this that these those it its he she his her him them us me our which who so as".split()
)
GRAMMAR |= DETERMINERS | _FINITE | _LATE | _SUBJECTS | _PLACES
_NEVER_LAST = frozenset("of during until despite per via among upon into onto than to very".split())
_NEVER_LAST |= DETERMINERS | _JOINERS | _CLAUSE | _SUBJECTS
# Past forms that are nothing else, neither nouns nor participles.
_PASTS = frozenset(
    "came went took gave ran drank froze shook blew grew knew threw drew wrote drove spoke chose began swam sang rang"
    " flew fell sank sat slept hid wore woke tore ate forgot became seemed stayed lay".split()
)
_NO_PAST = frozenset("to in on by very is are was were be been too because".split())
_PLAIN_ED = frozenset("need feed speed exceed proceed succeed breed bleed embed shred indeed".split())
_SINGULAR_S = ("ss", "us", "is", "as", "'s")
_ONE_S = frozenset("series lens means news sports goods savings arms games sales species chaos cosmos woods".split())
_PERFECT = _HAVE | frozenset("having hasn't haven't hadn't 've".split())
_BEFORE_BE = _MODALS | frozenset("to let make makes made don't do won't wouldn't can't couldn't shouldn't".split())
_CONNECTORS = frozenset(
    "that which who whom whose what how why where so yet as than until before after once then".split()
)
_CONNECTORS |= _JOINERS | _CLAUSE
_TIMES = frozenset(
    "day week night time moment year morning evening minute hour second instant reason way place".split()
)
_LONGEST_LIST = 8
_MOST_LONE_WORDS = 3
REACH = 7
_TOKEN = re.compile(rf"({WORD.pattern})([^\w]*)")
_OPENS = re.compile(r"[:\"“‘]")
_PAUSE = re.compile(r"[,;:()–—]|\s-\s")


def _clauses(sentence: str) -> list[list[str]]:
    """Split a sentence into runs of lower-case words without a comma, colon or bracket between them."""
    runs: list[list[str]] = [[]]
    for match in _TOKEN.finditer(sentence):
        # The month is a name, not the modal.
        runs[-1].append("month" if match.group(1) == "May" else match.group(1).lower().replace("’", "'"))
        if _PAUSE.search(match.group(2)):
            runs.append([])
    return [run for run in runs if run]


def _article_misfits(left: str, right: str) -> bool:
    """Say whether a stands before a vowel or an before a consonant."""
    if left == "a":
        return right[0] in "aeio" and not right.startswith(("eu", "one", "once", "ewe"))
    return left == "an" and right[0] not in "aeiouh8" and len(right) > 1 and right not in ("11", "18")


def _verb_misfits(left: str, right: str) -> bool:
    """Say whether a past form stands where only a noun or a plain verb can."""
    if right in _PASTS:
        return left in DETERMINERS or left in _MODALS or left in _PREPOSITIONS or left in _PASTS or left in _NO_PAST
    return right.endswith("ed") and len(right) > 4 and right not in _PLAIN_ED and left in (_MODALS | _DO)


def _plural_misfits(left: str, right: str) -> bool:
    """Say whether a or an stands before a plural."""
    return left in ("a", "an") and right.endswith("s") and not right.endswith(_SINGULAR_S) and right not in _ONE_S


def _clash(left: str, right: str) -> bool:
    """Say whether two words cannot be neighbours."""
    if _verb_misfits(left, right) or _plural_misfits(left, right):
        return True
    if left == right and left not in ("had", "that", "very"):
        return True
    if right == "of" and left in FUNCTION_WORDS and left not in _BEFORE_OF:
        return True
    return right in _FORBIDDEN.get(left, frozenset()) or _article_misfits(left, right)


def _lacks_auxiliary(run: list[str], place: int) -> bool:
    """Say whether been stands without have, or be without to or could, among the three words before it."""
    before = frozenset(run[max(0, place - 3) : place])
    if run[place] == "been":
        return not before & _PERFECT
    return run[place] == "be" and not before & _BEFORE_BE


def _has_verbs_to_spare(run: list[str]) -> bool:
    """Say whether a clause has more auxiliaries than words that could join their clauses."""
    pairs = zip(["", *run], run, strict=False)
    finite = sum(right in _FINITE and left not in _BEFORE_BE and left != "not" for left, right in pairs)
    return finite > 1 + sum(word in _CONNECTORS for word in run) and "reason" not in run


def _is_doubled(run: list[str]) -> bool:
    """Say whether two articles share one noun: the dough the, but not the night the, nor in the dough the."""
    return any(
        a in DETERMINERS and c == "the" and not {b, before} & (FUNCTION_WORDS | _TIMES)
        for before, a, b, c in ngrams(["", *run], 4)
    )


def _is_list(run: list[str]) -> bool:
    """Say whether content words follow one another endlessly, or are strung together by and."""
    longest = length = 0
    for word in run:
        length = 0 if word in FUNCTION_WORDS else length + 1
        longest = max(longest, length)
    ands = [place for place, word in enumerate(run) if word in ("and", "or")]
    return longest > _LONGEST_LIST or sum(b - a == 2 for a, b in pairwise(ands)) > 1


@dataclass(frozen=True)
class Spelling:
    """Which words the material writes small, and which it writes with a capital inside a sentence."""

    small: frozenset[str]
    capital: frozenset[str]

    @staticmethod
    def of(*texts: str) -> Spelling:
        """Read the spelling of the material."""
        parts = [words(sentence) for text in texts for sentence in sentences(text)]
        return Spelling(
            frozenset(word for part in parts for word in part if word[0].islower()),
            frozenset(word for part in parts for word in part[1:] if word[0].isupper()),
        )

    def is_odd(self, word: str) -> bool:
        """Say whether a word has a capital inside a sentence that betrays a seam."""
        if not word[0].isupper() or word in self.capital or word in ("I", "May") or word[1:2] in ("'", "’"):
            return False
        return word.lower() in FUNCTION_WORDS or word.lower() in self.small


def _is_clause(run: list[str]) -> bool:
    """Say whether a run of words without a pause may stand in this order."""
    return not (
        run.count("because") > 1
        or _is_list(run)
        or _is_doubled(run)
        or _has_verbs_to_spare(run)
        or any(_clash(left, right) for left, right in pairwise(run))
        or any(_lacks_auxiliary(run, place) for place in range(len(run)))
    )


def _has_seam(sentence: str, spelling: Spelling) -> bool:
    """Say whether a capital inside the sentence, not behind a colon or a quote, betrays a seam."""
    matches = list(_TOKEN.finditer(sentence))
    inside = [(here.group(1), before.group(2)) for before, here in pairwise(matches)]
    return any(spelling.is_odd(word) and not _OPENS.search(before) for word, before in inside)


def is_ordered(sentence: str, spelling: Spelling) -> bool:
    """Say whether the words of a sentence may stand in this order, given the spelling of the material."""
    runs = _clauses(sentence)
    if not runs or _has_seam(sentence, spelling):
        return False
    # Without its stop a sentence may break off anywhere: what is added behind must not mend it.
    if is_ended(sentence) and runs[-1][-1] in _NEVER_LAST:
        return False
    if any(run[-1] in DETERMINERS for run in runs[:-1]):
        return False
    lone = sum(len(run) == 1 and run[0] not in FUNCTION_WORDS for run in runs)
    return lone <= _MOST_LONE_WORDS and all(map(_is_clause, runs))


@dataclass(frozen=True)
class Neighbours:
    """Which words follow one another in the material: at once, and within a few words, small words left out."""

    near: frozenset[tuple[str, ...]]
    loose: frozenset[tuple[str, ...]]

    @staticmethod
    def of(parts: Sequence[Sequence[str]]) -> Neighbours:
        """Read the material, a list of sentences as lists of stems."""
        near = frozenset(pair for part in parts for pair in ngrams(part, 2))
        loose = frozenset(
            (left, right)
            for part in parts
            for place, left in enumerate(part)
            for right in part[place + 1 : place + REACH]
            if left not in FUNCTION_WORDS and right not in FUNCTION_WORDS
        )
        return Neighbours(near, loose)

    def familiarity(self, core: Sequence[str]) -> float:
        """Say how far the order of words is that of the material: 0 to 3, honest sentences about 1.5, shuffled .2.

        `core` holds stems and small words, all known from the material. Twice the share of neighbours that are known,
        plus the share of content pairs in known order, minus half the share in turned order; pairs of small words
        say nothing.
        """
        pairs = [pair for pair in ngrams(core, 2) if not FUNCTION_WORDS.issuperset(pair)]
        content = ngrams([word for word in core if word not in FUNCTION_WORDS], 2)
        if not pairs or not content:
            return 0.0
        near = sum(pair in self.near for pair in pairs) / len(pairs)
        kept = sum(pair in self.loose for pair in content)
        turned = sum(pair not in self.loose and pair[::-1] in self.loose for pair in content)
        return 2 * near + (kept - 0.5 * turned) / len(content)
