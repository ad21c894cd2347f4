"""A project that is ready to be judged, in memory: prompts, responses, ballots of every kind, and the site above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI

from expound.panel.people import PeopleQueue
from expound.ports import Admission, Book
from expound.records import Ballot, Prompt, Response, Round, Split, Text, content_id
from expound.rubric import Criterion, Length, Point, Rubric
from expound.settings import AskingSettings, ProjectSettings, Settings, SiteSettings
from expound.web.app import build
from tests.support.books import MemoryAdmission, MemoryBook


def criterion_of(name: str, english: str, chinese: str, labels: Sequence[str], meanings: Sequence[str]) -> Criterion:
    """Return a criterion of five points; a label or meaning is "English|Chinese"."""
    points = [
        Point(value=value, label=_told(label), meaning=_told(meaning))
        for value, (label, meaning) in enumerate(zip(labels, meanings, strict=True), start=1)
    ]
    return Criterion(name=name, question={"en": english, "zh": chinese}, points=tuple(points))


def _told(text: str) -> dict[str, str]:
    english, chinese = text.split("|")
    return {"en": english, "zh": chinese}


CRITERIA = (
    criterion_of(
        "reason",
        "Does the answer name the right reason?",
        "回答说对原因了吗？",
        ("Wrong|错误", "Mostly wrong|大部分错误", "Partly right|部分正确", "Right|正确", "Fully right|完全正确"),
        (
            "The reason it gives is wrong, or it gives none.|给出的原因是错的，或者没有给出原因。",
            "It touches the true reason but gives another one as the main one.|提到了真正的原因，但主要说的是别的。",
            "It names the true reason together with a wrong one.|说出了真正的原因，但夹杂着错误的原因。",
            "It names the true reason, but not how that led to what happened.|说出了原因，但没有说清它怎样导致了结果。",
            "It names the true reason and how that led to what happened.|说出了原因，也说清了它怎样导致了结果。",
        ),
    ),
    criterion_of(
        "clarity",
        "How easy is the answer to follow?",
        "回答容易看懂吗？",
        ("Not at all|看不懂", "Hard|难懂", "With effort|费力", "Easy|好懂", "Very easy|非常好懂"),
        (
            "I cannot tell what it wants to say.|看不出它想说什么。",
            "I had to guess what some of it means.|有些地方要靠猜才能明白。",
            "I understood it after reading it twice.|读两遍之后才看懂。",
            "I understood it at once.|一遍就看懂了。",
            "I understood it at once, and no word in it is too many.|一遍就看懂，而且没有一个多余的字。",
        ),
    ),
    criterion_of(
        "trust",
        "Would you rely on this answer?",
        "你会信赖这个回答吗？",
        ("Not at all|完全不会", "Rather not|不太会", "Partly|部分会", "Rather yes|大致会", "Fully|完全会"),
        (
            "I would look for the answer elsewhere.|我会到别处去找答案。",
            "I would check all of it before I used it.|使用之前，我会把它全部核对一遍。",
            "I would check the main point before I used it.|使用之前，我会核对它的要点。",
            "I would check it only if much depended on it.|只有在事关重大时，我才会去核对。",
            "I would rely on it as it stands.|我会直接信赖它。",
        ),
    ),
    criterion_of(
        "overall",
        "How good is the answer as a whole?",
        "总的来说，这个回答怎么样？",
        ("Bad|很差", "Poor|较差", "Fair|一般", "Good|好", "Excellent|非常好"),
        (
            "It explains nothing, or misleads.|什么也没有解释，或者误导读者。",
            "It explains little, and leaves the question open.|解释得很少，问题仍然没有答案。",
            "It explains some of it, with clear faults.|解释了一部分，但有明显的缺点。",
            "It explains it well, with small faults.|解释得好，只有小缺点。",
            "It explains it as well as I could wish.|解释得很好，我没有更多要求。",
        ),
    ),
)
RUBRIC = Rubric(
    name="answer",
    comparison={"en": "Which answer explains it better?", "zh": "哪个回答解释得更好？"},
    criteria=CRITERIA,
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


@dataclass(frozen=True)
class Several:
    """A question with its source and the responses that are to be put in order, as shown."""

    question: str
    source: str
    texts: tuple[str, ...]


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
KILN = Several(
    "Why did the glaze of Ines's bowls craze after a week on the shelf?",
    "The bowls left the kiln without a flaw, and Ines had stacked them beside the window. After a week a net of fine "
    "cracks ran through every glaze. She had bought a new clay that shrinks less on cooling than the old one, and kept "
    "her old glaze. A glaze that shrinks more than the body beneath it is under tension, and tears. Test tiles of the "
    "new clay with a glaze of more silica stayed whole for a month. The shelf had been painted green.",
    (
        "The glaze crazed because it shrinks more on cooling than the new clay beneath it, so it was under tension and "
        "tore. Tiles of the same clay with a glaze of more silica stayed whole for a month.",
        "It crazed because Ines had stacked the bowls beside the window, where the sun warmed them every day.",
        "The old glaze did not fit the new clay: it pulled itself apart.",
        "The bowls left the kiln without a flaw. After a week a net of fine cracks ran through every glaze.",
        "The cracks came from the new clay, which shrinks less than the old one, and perhaps from the green paint.",
    ),
)


def prompt_of(case: Case | Several, split: Split = "train") -> Prompt:
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


def ranking_of(prompt: Prompt, several: Several) -> tuple[Ballot, list[Response]]:
    """Return the ballot that asks for an order, and its responses as shown."""
    made = [
        Response(Response.make_id(prompt.id, "tuned", 1, place, text), prompt.id, text, "tuned", 1, place, True)
        for place, text in enumerate(several.texts)
    ]
    shown = tuple(response.id for response in made)
    id_ = Ballot.make_id("ranking", prompt.id, shown, 1, 0)
    return Ballot(id_, "ranking", prompt.id, shown, 1, "train"), made


def rating_of(response: Response, criteria: Sequence[Criterion] = CRITERIA) -> Ballot:
    """Return the ballot that asks for a point of each criterion."""
    id_ = Ballot.make_id("rating", response.prompt, [response.id], 1, 0)
    names = tuple(criterion.name for criterion in criteria)
    return Ballot(id_, "rating", response.prompt, (response.id,), 1, "train", criteria=names)


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

    def ask_points(self, case: Case, criteria: Sequence[Criterion] = CRITERIA) -> Ballot:
        """Have the left response of a case rated."""
        prompt = prompt_of(case)
        left, _ = pair_of(prompt, case)
        ballot = rating_of(left, criteria)
        self.book.add([prompt, left, ballot])
        return ballot

    def ask_order(self, several: Several) -> Ballot:
        """Have several responses put in order."""
        prompt = prompt_of(several)
        ballot, responses = ranking_of(prompt, several)
        self.book.add([prompt, *responses, ballot])
        return ballot


def settings_of(host: str = "127.0.0.1", name: str = "incident explainer") -> Settings:
    return Settings(
        project=ProjectSettings(name=name, task="answer", model="none"),
        asking=AskingSettings(ballots=("comparison", "rating", "ranking")),
        site=SiteSettings(host=host, port=0),
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
