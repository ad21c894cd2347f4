"""Plain text measured: sentences, words, stems, numbers, names, repetition and copying. Pure, no model.

English is meant throughout; Chinese text is split at its own sentence marks and counted by characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

WORD = re.compile(r"[㐀-鿿]|\d+(?:[.,:]\d+)*|[^\W\d_㐀-鿿]+(?:['’-][^\W\d_㐀-鿿]+)*|[^\W_]+")
_STOP = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？]+[”’」』）]*")
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr vs etc e.g i.e no nos fig approx dept inc ltd co a.m p.m jan feb mar apr jun jul aug"
    " sep sept oct nov dec u.s u.k".split()
)
_NEEDS_MORE = frozenset("mr mrs ms dr prof st vs e.g i.e no nos fig approx".split())

FUNCTION_WORDS = frozenset(
    "a an the this that these those some any each every either neither no all both half such another other others"
    " i me my mine myself we us our ours ourselves you your yours yourself he him his himself she her hers herself it"
    " its itself they them their theirs themselves one who whom whose which what when where why how whoever whatever"
    " am is are was were be been being have has had having do does did doing done will would shall should can could"
    " may might must ought of in on at by for from to with without within into onto upon over under above below"
    " between among through throughout during before after since until till against about around across along"
    " behind beside besides beyond near toward towards off out up down away inside outside per via despite except"
    " and or but nor so yet because although though while whereas if unless whether than as then thus therefore hence"
    " however moreover also too very just only even still already again once not never there here rather quite almost"
    " instead now soon often always later"
    " else more most less least much many few little own same let's isn't aren't wasn't weren't don't"
    " doesn't didn't won't wouldn't can't couldn't shouldn't hasn't haven't hadn't it's that's there's cannot".split()
)

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_DIGITS = re.compile(r"^\d[\d.,:]*")
_VOWEL = re.compile(r"[aeiouy]")


def _ends_here(text: str, mark: re.Match[str]) -> bool:
    """Say whether a stop ends a sentence: not after an abbreviation, an initial or a blank."""
    before = text[: mark.start()]
    if not before or before[-1].isspace():
        return False
    if not mark.group().startswith(".") or mark.group().startswith(".."):
        return True
    last = before.split()[-1].lstrip("(\"'“‘").lower()
    following = text[mark.end() :].lstrip()
    if last in _NEEDS_MORE and (last != "no" or following[:1].isdigit()):
        return False
    if last in _ABBREVIATIONS:
        return not following or following[0].isupper()
    is_initial = len(last) == 1 and last.isalpha() and before[-1].isupper() and last != "i"
    return not (is_initial and following[:1].isupper())


def _ends(text: str) -> list[int]:
    """Find the positions just behind each stop that ends a sentence."""
    return [mark.end() for mark in _STOP.finditer(text) if _ends_here(text, mark)]


def sentences(text: str) -> tuple[str, ...]:
    """Split text into sentences at . ! ? 。 ！ ？ and at line ends; list marks are dropped, decimals kept whole."""
    found: list[str] = []
    for line in text.splitlines():
        line = _LIST_MARK.sub("", line)
        cuts = [0, *_ends(line), len(line)]
        found += [line[a:b].strip() for a, b in pairwise(cuts)]
    return tuple(sentence for sentence in found if sentence)


def is_ended(sentence: str) -> bool:
    """Say whether a sentence ends in a stop, behind which only quotes or brackets may stand."""
    stripped = sentence.rstrip()
    ends = _ends(stripped)
    return bool(ends) and ends[-1] == len(stripped)


def finished_part(text: str) -> str:
    """Cut text after its last full stop, question mark or exclamation mark; empty where there is none."""
    ends = _ends(text)
    return text[: ends[-1]].rstrip() if ends else ""


def words(text: str) -> tuple[str, ...]:
    """List the words of text as written; a number with its point and a word with its hyphen are one word."""
    return tuple(WORD.findall(text))


def lower_words(text: str) -> tuple[str, ...]:
    """List the words of text in lower case, with plain apostrophes."""
    return tuple(map(_plain, words(text)))


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")


def is_function_word(word: str) -> bool:
    """Say whether a word carries grammar rather than content."""
    return _plain(word) in FUNCTION_WORDS


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Take the common English endings off a word, so that slow, slowed, slowing and slowly are one stem."""
    base = _plain(word).removesuffix("'s").rstrip("'")
    for ending, left in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ily", "y"), ("ss", "ss"), ("us", "us")):
        if base.endswith(ending) and len(base) - len(ending) >= 2:
            return _close(base[: len(base) - len(ending)] + left)
    for ending in ("s", "ly", "ing", "ed", "er", "est"):
        rest = base[: len(base) - len(ending)]
        if base.endswith(ending) and len(rest) >= 3 and _VOWEL.search(rest):
            base = rest
    return _close(base)


def _close(base: str) -> str:
    """Undo a doubled last consonant and drop a last e, so that stopped meets stop and closing meets close."""
    if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "aeiouls":
        base = base[:-1]
    return base[:-1] if len(base) > 3 and base[-1] in "e" else base


def stems(text: str) -> tuple[str, ...]:
    """List the stems of the words of text, in order, without function words; numbers stay."""
    return tuple(stem(word) for word in lower_words(text) if word not in FUNCTION_WORDS)


def _number_words(tokens: Sequence[str]) -> list[str]:
    """Read written numbers such as two hundred and five, as digits."""
    found: list[str] = []
    total, current, open_number = 0, 0, False
    for token in [*tokens, ""]:
        if token in _SMALL:
            if open_number and 0 < current % 100 and not (current % 100 >= 20 and _SMALL[token] < 10):
                found.append(str(total + current))
                total, current = 0, 0
            current, open_number = current + _SMALL[token], True
        elif token in _LARGE and open_number:
            scale = _LARGE[token]
            total, current = (total, current * scale) if scale == 100 else (total + current * scale, 0)
        elif open_number and not (token == "and" and current % 100 == 0 and total + current > 0):
            found.append(str(total + current))
            total, current, open_number = 0, 0, False
    return found


def _digits(token: str) -> list[str]:
    """Read a number in digits: 1,000 is 1000, 12.50 is 12.5, 4:10 is the two numbers 4 and 10."""
    match = _DIGITS.match(token)
    if match is None:
        return []
    parts = match.group().replace(",", "").rstrip(".:").split(":")
    return [part.lstrip("0").rstrip("0").rstrip(".") if "." in part else part.lstrip("0") or "0" for part in parts]


def numbers(text: str) -> frozenset[str]:
    """Collect the numbers of text, in digits or in words, each in one plain form (twelve and 12.0 are 12)."""
    tokens = [part for token in lower_words(text) for part in ([token] if token[0].isdigit() else token.split("-"))]
    digits = [number for token in tokens for number in _digits(token)]
    return frozenset(digits) | frozenset(_number_words(tokens))


def names(text: str) -> frozenset[str]:
    """Collect the capitalised words that do not open a sentence, without function words."""
    found: set[str] = set()
    for sentence in sentences(text):
        found |= {word for word in words(sentence)[1:] if word[0].isupper() and not is_function_word(word)}
    return frozenset(re.sub(r"['’]s$", "", name) for name in found if not name.startswith(("I'", "I’")))


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """List the runs of n neighbouring tokens, in order."""
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def repeated_ngrams(text: str, n: int = 3) -> int:
    """Count the runs of n words that stood in the text before."""
    grams = ngrams(lower_words(text), n)
    return len(grams) - len(set(grams))


def copied_words(text: str, source: str, run: int = 9) -> int:
    """Count the words of text that lie in runs of at least `run` words of the source, case and marks aside."""
    tokens = lower_words(text)
    known = set(ngrams(lower_words(source), run))
    copied = [False] * len(tokens)
    for start, gram in enumerate(ngrams(tokens, run)):
        if gram in known:
            copied[start : start + run] = [True] * run
    return sum(copied)
