"""People as the panel: which ballot each of them gets next, and the waiting until everything is answered.

The site's process has the queue, with its leases in memory; the process that runs the round waits for the book.
Nothing here depends on policies: a ballot's order was drawn when it was made, and all ballots are treated alike.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from expound.errors import StoppedItself, WaitingForPeople, with_folder
from expound.ports import Admission, Book, Opened, Panel, Progress
from expound.records import Answer, Ballot, Prompt, RaterProgress, Response, Round, Skip, Split

LEASE_SECONDS = 15 * 60.0
POLL_SECONDS = 1.0
ANSWERS_SEARCHED = 100_000

Question = tuple[str, ...]


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answered_by_people(book: Book) -> Mapping[str, tuple[str, ...]]:
    """Return for every ballot that people answered who did: what a judge says of it leaves it open for them."""
    return _of_people(book, book.answered())


def _of_people(book: Book, told: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    others = {rater.id for rater in book.raters() if rater.source != "people"}
    theirs = {ballot: tuple(one for one in who if one not in others) for ballot, who in told.items()}
    return {ballot: who for ballot, who in theirs.items() if who}


@dataclass(frozen=True)
class Lease:
    """A ballot in somebody's hands. One that has ended stays theirs until somebody else takes the ballot."""

    rater: str
    ballot: str
    ends: float
    shown_at: str


@dataclass
class Work:
    """What the book says about ballots, and what each rater has dealt with in any round.

    `ballots` are those that may be answered, `counted` the ids of all in undecided rounds.
    """

    ballots: dict[str, Ballot] = field(default_factory=dict)
    counted: frozenset[str] = frozenset()
    answered: dict[str, set[str]] = field(default_factory=dict)
    skipped: dict[str, set[str]] = field(default_factory=dict)
    done: dict[str, set[Question]] = field(default_factory=dict)
    begun: set[Question] = field(default_factory=set)

    @staticmethod
    def read(book: Book) -> Work:
        """Read it from the book. Once a round is settled nothing learns from its train ballots, so they are closed."""
        ballots, settled = book.ballots(), {settlement.round for settlement in book.settlements()}
        decided = {decision.round for decision in book.decisions()}
        # Those of round 0 came from a file with their answers; a rating without criteria asks a function of the user's.
        asked = [one for one in ballots if one.round and (one.kind != "rating" or one.criteria)]
        current = [one for one in asked if one.round not in decided]
        open_ = {ballot.id: ballot for ballot in current if ballot.split != "train" or ballot.round not in settled}
        work = Work(open_, frozenset(ballot.id for ballot in current))
        answered, skipped = answered_by_people(book), _of_people(book, book.skipped())
        for ballot in ballots:
            for rater in answered.get(ballot.id, ()):
                work.note(rater, ballot, skipped=False)
            for rater in skipped.get(ballot.id, ()):
                work.note(rater, ballot, skipped=True)
        return work

    def note(self, rater: str, ballot: Ballot, *, skipped: bool) -> None:
        """Note that the rater answered or skipped a ballot; the newest counts."""
        to, other = (self.skipped, self.answered) if skipped else (self.answered, self.skipped)
        to.setdefault(ballot.id, set()).add(rater)
        other.get(ballot.id, set()).discard(rater)
        self.done.setdefault(rater, set()).add(ballot.question)
        if not skipped:
            self.begun.add(ballot.question)

    def missing(self) -> list[Ballot]:
        """Return the ballots without an answer."""
        return [ballot for ballot in self.ballots.values() if not self.answered.get(ballot.id)]

    def touched(self, rater: str, ballot: str) -> bool:
        """Return whether the rater answered or skipped the ballot."""
        return rater in self.answered.get(ballot, ()) or rater in self.skipped.get(ballot, ())

    def judged(self) -> Counter[str]:
        """Return how many ballots of the undecided rounds each rater answered."""
        return Counter(rater for ballot in self.counted for rater in self.answered.get(ballot, ()))


class PeopleQueue:
    """Hands out ballots (fulfils ports.Queue); one for a project and process, used by many threads."""

    def __init__(
        self,
        book: Book,
        admission: Admission,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._book, self._admission = book, admission
        self._clock, self._now = clock, now
        self._lock = threading.RLock()
        self._leases: dict[str, Lease] = {}
        self._lost: dict[str, set[Question]] = {}
        self._work, self._head, self._looked = Work(), -1, float("-inf")

    def next(self, rater: str) -> Ballot | None:
        with self._lock:
            self._look()
            held = next((lease for lease in self._leases.values() if lease.rater == rater), None)
            if held is None:
                return self._hand_out(rater)
            self._leases[held.ballot] = replace(held, ends=self._clock() + LEASE_SECONDS)
            return self._work.ballots[held.ballot]

    def open(self, rater: str, ballot: str, key: str = "") -> Opened | None:
        with self._lock:
            self._look()
            opened = self._opened(rater, ballot, key)
            if opened is None and self._look(at_once=True):  # another process may have stored an answer a moment ago
                opened = self._opened(rater, ballot, key)
            return opened

    def accepted(self, answer: Answer) -> None:
        """Take note of a stored answer: it frees the lease, and a skipped ballot goes to somebody else."""
        with self._lock:
            lease = self._leases.get(answer.ballot)
            if lease is not None and lease.rater == answer.rater:
                del self._leases[answer.ballot]
            ballot = self._work.ballots.get(answer.ballot)
            if ballot is not None:
                skipped = any(isinstance(judgment, Skip) for judgment in answer.judgments)
                self._work.note(answer.rater, ballot, skipped=skipped)

    def progress(self, rater: str) -> RaterProgress:
        """Return how far the rater is; what is missing is shared among those who are at work."""
        with self._lock:
            self._look()
            missing, judged = self._work.missing(), self._work.judged()
            possible = len({ballot.question for ballot in missing} - self._barred(rater))
            active = {rater, *judged, *(lease.rater for lease in self._leases.values() if self._is_open(lease))}
            share = -(-len(missing) // len(active))
            return RaterProgress(judged=judged[rater], left=min(possible, share))

    # --- below here the lock is held ------------------------------------------------------------------------------

    def _look(self, *, at_once: bool = False) -> bool:
        """Read the book again if it has grown, at most once a second; return whether it was read."""
        if not at_once and self._clock() - self._looked < POLL_SECONDS:
            return False
        self._looked, head = self._clock(), self._book.head()
        if head == self._head:
            return False
        self._head, self._work = head, Work.read(self._book)
        self._leases = {ballot: lease for ballot, lease in self._leases.items() if self._stays(lease)}
        return True

    def _stays(self, lease: Lease) -> bool:
        return lease.ballot in self._work.ballots and not self._work.touched(lease.rater, lease.ballot)

    def _is_open(self, lease: Lease) -> bool:
        return lease.ends > self._clock()

    def _opened(self, rater: str, ballot: str, key: str) -> Opened | None:
        found, lease = self._work.ballots.get(ballot), self._leases.get(ballot)
        theirs = lease is not None and lease.rater == rater
        if found is None or not (key or theirs or self._work.touched(rater, ballot)):
            return None
        previous = self._previous(rater, ballot)
        newest = 0 if previous is None else previous.revision + 1
        revision = self._revision_of(rater, ballot, key, newest) if key else newest
        if revision is None:
            return None
        prompt, responses = self._content(found)
        others = self._work.answered.get(ballot, set()) - {rater}
        return Opened(
            ballot=found,
            prompt=prompt,
            responses=responses,
            revision=revision,
            key=self._admission.answer_key(rater, ballot, revision),
            previous=previous,
            shown_at=lease.shown_at if lease is not None and theirs else None,
            surplus=bool(others) and rater not in self._work.answered.get(ballot, ()),
        )

    def _hand_out(self, rater: str) -> Ballot | None:
        chosen = self._choose(rater)
        if chosen is None and self._look(at_once=True):
            chosen = self._choose(rater)
        if chosen is not None:
            lost = self._leases.pop(chosen.id, None)
            if lost is not None:  # They may still answer it from the page they have, so they get no copy of it.
                self._lost.setdefault(lost.rater, set()).add(chosen.question)
            self._leases[chosen.id] = Lease(rater, chosen.id, self._clock() + LEASE_SECONDS, self._now())
        return chosen

    def _barred(self, rater: str) -> set[Question]:
        return self._work.done.get(rater, set()) | self._lost.get(rater, set())

    def _choose(self, rater: str) -> Ballot | None:
        """Return what is begun before what is fresh; equals in an order of the rater's own, so that raters spread."""
        taken = {lease.ballot for lease in self._leases.values() if self._is_open(lease)}
        begun = self._work.begun | {self._work.ballots[ballot].question for ballot in taken}
        barred = self._barred(rater)
        free = [ballot for ballot in self._work.missing() if ballot.id not in taken and ballot.question not in barred]
        return min(free, key=lambda ballot: (ballot.question not in begun, _place(rater, ballot.id)), default=None)

    def _previous(self, rater: str, ballot: str) -> Answer | None:
        if not self._work.touched(rater, ballot):
            return None
        answers = self._book.answers(rater, ANSWERS_SEARCHED)
        return max((one for one in answers if one.ballot == ballot), key=lambda one: one.revision, default=None)

    def _revision_of(self, rater: str, ballot: str, key: str, newest: int) -> int | None:
        keys = {revision: self._admission.answer_key(rater, ballot, revision) for revision in range(newest + 1)}
        return next((one for one, own in keys.items() if hmac.compare_digest(own.encode(), key.encode())), None)

    def _content(self, ballot: Ballot) -> tuple[Prompt, tuple[Response, ...]]:
        prompt = next(prompt for prompt in self._book.prompts() if prompt.id == ballot.prompt)
        responses = {response.id: response for response in self._book.responses()}
        return prompt, tuple(responses[one] for one in ballot.responses)


def _place(rater: str, ballot: str) -> bytes:
    return hashlib.blake2b(ballot.encode(), key=rater.encode()[:64], digest_size=16).digest()


class People:
    """Waits until people have answered (fulfils ports.Panel); the site that asks them is another process."""

    def __init__(
        self,
        book: Book,
        *,
        wait: bool,
        folder: Path = Path(),
        is_served: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._book, self._folder, self._wait = book, folder, wait
        self._is_served, self._sleep = is_served, sleep

    def collect(self, round_: Round, split: Split, progress: Progress) -> None:
        """Return when every ballot of the round and split has an answer that is no skip.

        Errors: WaitingForPeople when it is not to wait and judgments are missing; StoppedItself when the site ends.
        """
        ballots = self._book.ballots(split, round_=round_.number)
        missing = self._missing(ballots)
        if missing and not self._wait:
            raise self._waiting(round_, ballots, missing)
        if missing:
            which = "training" if split == "train" else split.replace("_", "-")
            progress.say(f"{_count(missing)} to judge ({which} prompts).")
            self._wait_for(ballots, len(missing), progress)
            progress.say("Everything is judged; going on.")

    def _missing(self, ballots: Sequence[Ballot]) -> list[Ballot]:
        answered = answered_by_people(self._book)
        return [ballot for ballot in ballots if not answered.get(ballot.id)]

    def _wait_for(self, ballots: Sequence[Ballot], left: int, progress: Progress) -> None:
        head, told = -1, False
        with progress.bar("judged", len(ballots), len(ballots) - left) as advance:
            while left:
                if head != (head := self._book.head()):
                    missing = self._missing(ballots)
                    advance(max(left - len(missing), 0))
                    left = min(left, len(missing))
                    if missing and not told and self._stuck(missing) == len(missing):
                        others = f"{_need_others(len(missing))} Invite somebody with 'expound invite NAME'."
                        progress.say(with_folder(others, self._folder))
                        told = True
                if left:
                    self._require_site()
                    self._sleep(POLL_SECONDS)

    def _require_site(self) -> None:
        if not self._is_served():
            raise StoppedItself(
                "the rating site has ended, so that nobody can judge any more.",
                "Run the same command again to go on; nothing that was judged is lost.",
            )

    def _stuck(self, missing: Sequence[Ballot]) -> int:
        """Return how many ballots none of the raters so far may answer, since they have dealt with their question."""
        work = Work.read(self._book)
        raters = [rater.id for rater in self._book.raters() if rater.active and rater.source == "people"]
        free = [[rater for rater in raters if ballot.question not in work.done.get(rater, ())] for ballot in missing]
        return sum(not who for who in free) if raters else 0

    def _waiting(self, round_: Round, ballots: Sequence[Ballot], missing: Sequence[Ballot]) -> WaitingForPeople:
        names = {rater.id: rater.name for rater in self._book.raters() if rater.source == "people"}
        answered = answered_by_people(self._book)
        counts = Counter(rater for ballot in ballots for rater in answered.get(ballot.id, ()))
        who = ", ".join(f"{names.get(rater, rater)} {count}" for rater, count in counts.most_common())
        stuck = self._stuck(missing)
        count = f"{len(missing)} of {len(ballots)} judgments of round {round_.number}"
        what = f"{count} are missing (answered: {who or 'none'})."
        if stuck:
            what = f"{what} {_need_others(stuck)}"
        more = "invite more raters with 'expound invite NAME', and " if stuck or not names else ""
        return WaitingForPeople(what, f"Let them judge with 'expound serve', {more}then run the same command again.")


@dataclass(frozen=True)
class Panels:
    """Several panels that all judge the same ballots (fulfils ports.Panel)."""

    panels: tuple[Panel, ...]

    def collect(self, round_: Round, split: Split, progress: Progress) -> None:
        """Return when each of them is done."""
        for panel in self.panels:
            panel.collect(round_, split, progress)


def _count(ballots: Sequence[Ballot]) -> str:
    kinds = {ballot.kind for ballot in ballots}
    return f"{len(ballots)} {kinds.pop() if len(kinds) == 1 else 'ballot'}{'' if len(ballots) == 1 else 's'}"


def _need_others(count: int) -> str:
    return f"{count} can only be given by people who have not judged the same question yet."
