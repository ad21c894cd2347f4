"""A project that is ready to be judged, in memory: prompts, pairs of responses, ballots, and the site above them."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from expound.panel.people import PeopleQueue
from expound.ports import Admission, Book
from expound.records import Ballot, Prompt, Response, Round, Split, Text, content_id
from expound.rubric import Length, Rubric
from expound.settings import ProjectSettings, Settings, SiteSettings
from expound.web.app import build
from tests.support.books import MemoryAdmission, MemoryBook

RUBRIC = Rubric(
    name="answer",
    comparison={"en": "Which answer explains it better?", "zh": "哪个回答解释得更好？"},
    criteria=(),
    guidelines={
        "en": "A good answer gives the reason, says how it works, and names what in the text shows it.\n\n"
        "Nice words do not count. An answer that adds what the text does not say is worse.",
        "zh": "好的回答给出原因，说明道理，并指出文中的证据。\n\n文采不算。添加文中没有的内容会更差。",
    },
    length=Length(shortest_words=5, longest_words=60),
)


@dataclass(frozen=True)
class Case:
    """A question with its source and two responses, of which the first is shown on the left."""

    question: str
    source: str
    left: str
    right: str


FERRY = Case(
    "Why did the ferry shudder at full speed?",
    "Passengers on the Orkney ferry felt the deck tremble whenever the captain pushed the engines hard. That week the "
    "crew had also painted the funnel red. A diver found eleven metres of fishing net wound around the left propeller. "
    "The net made the blades heavier on one side, so they spun out of balance. Once it was cut away, cups in the café "
    "stopped rattling.",
    "The ferry shook because a fishing net had wound itself around the left propeller, so the blades spun out of "
    "balance. A diver found eleven metres of it, and the rattling stopped once the net was cut away.",
    "The ferry shuddered at full speed because the captain pushed the engines hard. The passengers felt the deck "
    "tremble, and the crew had painted the funnel red that week.",
)
JAM = Case(
    "Why did Mrs Adeyemi's strawberry jam stay as thin as juice?",
    "At the harvest sale nobody could spread the jam, which ran off spoons. Mrs Adeyemi had picked her berries ten "
    "days late, soft and overripe. In such fruit the pectin, which ties the liquid into a jelly, has mostly broken "
    "down. She boiled half the jars again with peel of green apples, rich in pectin, and those set firmly overnight.",
    "The jam stayed thin because nobody could spread it at the harvest sale and it ran off spoons.",
    "It stayed thin because the berries were picked late, when they were overripe. Their pectin had broken down, and "
    "the jars that she boiled again with apple peel set firmly.",
)
BAKERY = Case(
    "为什么今天的面包没有发起来？",
    "老陈照常在四点揉好了面。昨夜降温，后厨的窗户又忘了关，早上温度计只有九度。酵母在低温下产气很慢。"
    "小林把剩下的面团放到炉边，一小时后就涨满了盆。店门口的招牌是新换的。",
    "面包没有发起来，是因为后厨太冷，酵母在低温下产气很慢。放到炉边的面团一小时就涨满了盆，说明原因就在温度。",
    "因为老陈四点就揉好了面，而且店门口换了新招牌。",
)


def prompt_of(case: Case, split: Split = "train") -> Prompt:
    parts = (Text("question", case.question), Text("source", case.source))
    return Prompt(content_id("prompt", case.question, case.source), parts if case.source else parts[:1], split=split)


def pair_of(prompt: Prompt, case: Case, round_: int = 1) -> tuple[Response, Response]:
    left, right = (
        Response(
            Response.make_id(prompt.id, policy, round_, sample, text), prompt.id, text, policy, round_, sample, True
        )
        for policy, sample, text in (("tuned", 0, case.left), ("reference", 1, case.right))
    )
    return left, right


def ballots_of(pair: tuple[Response, Response], split: Split = "train", copies: int = 1) -> list[Ballot]:
    """Return copies of one question; every second one has the sides exchanged."""
    made = []
    for copy in range(copies):
        shown = (pair[0].id, pair[1].id) if copy % 2 == 0 else (pair[1].id, pair[0].id)
        prompt, round_ = pair[0].prompt, pair[0].round
        id_ = Ballot.make_id("comparison", prompt, shown, round_, copy)
        made.append(Ballot(id_, "comparison", prompt, shown, round_, split, copy))
    return made


@dataclass
class TestSite:
    """A site with its book, queue and admission at hand."""

    __test__ = False
    book: Book
    admission: Admission
    queue: PeopleQueue
    app: FastAPI

    def ask(self, case: Case, *, split: Split = "train", copies: int = 1) -> list[Ballot]:
        """Put a question into the book."""
        prompt = prompt_of(case, split)
        pair = pair_of(prompt, case)
        ballots = ballots_of(pair, split, copies)
        self.book.add([prompt, *pair, *ballots])
        return ballots


def settings_of(host: str = "127.0.0.1", name: str = "incident explainer") -> Settings:
    return Settings(
        project=ProjectSettings(name=name, task="answer", model="none"), site=SiteSettings(host=host, port=0)
    )


def make_site(*cases: Case, host: str = "127.0.0.1", name: str = "incident explainer") -> TestSite:
    """Return a site above a book in memory."""
    book = MemoryBook()
    return site_above(book, MemoryAdmission(book), *cases, host=host, name=name)


def site_above(
    book: Book, admission: Admission, *cases: Case, host: str = "127.0.0.1", name: str = "incident explainer"
) -> TestSite:
    """Return a site above a book, with a round and its questions."""
    queue = PeopleQueue(book, admission)
    book.add(Round(1, 0, "{}", "{}"))
    site = TestSite(book, admission, queue, build(book, queue, admission, RUBRIC, settings_of(host, name)))
    for case in cases:
        site.ask(case)
    return site
