"""The engine of a service: one run and one log, followed and told in one process."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from threading import Event as Signal
from threading import Lock, Thread
from typing import Any, NamedTuple

import numpy as np

from index.compiled import prepare
from index.kinds import Kind as IndexKind
from retrieval.data.vocabulary import UNKNOWN, Id, id_of
from retrieval.errors import RecError, RequestError, RunError, shown
from retrieval.run.promotion import VersionSummary, or_as_before, promote, rollback, versions
from retrieval.run.shelves import read_moves
from retrieval.run.stores import has_store
from retrieval.run.versions import current
from retrieval.service.admission import admission_of, check_present, present
from retrieval.service.catalogue import MOVIES, LoggedMovies, Shelf, moved, overlaid, shelved
from retrieval.service.live import LiveEvents, checked_event_time
from retrieval.service.log import EVENTS, Appended, Entry, Kind, Log, LogError, NewEvent, open_log
from retrieval.service.mark import learned_until
from retrieval.service.memory import give_back_freed
from retrieval.service.settings import ServiceSettings
from retrieval.service.view import Cache, State, View, as_id, latest_users
from retrieval.serving.new_movies import MovieFolding, check_facts
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.threads import search_alone

logger = logging.getLogger(__name__)

# Seconds for which nobody asks a log that could not be reached.
AWAY = 1.0

# Seconds that the clock of whoever tells an event may be ahead of ours.
AHEAD = 24 * 3600

# Users who told something and whose next list is prepared at once: nobody waits for more of them.
PREPARED = 4

# Seconds between two looks at which lists nobody has made.
AGAIN = 30.0

# How many times as long as a list takes that is made before anybody asks, no other one is made; and
# the share of the cache that such lists may take.
REST, PREPARED_SHARE = 3, 0.8

# Seconds between two times at which freed memory is handed back; it also is after a version took
# over.
FREED = 60.0

# Users whose lists are made before a snapshot answers, so that what is mapped is in memory.
WARMED = 32


class ForgottenUser(NamedTuple):
    """What there was of a user who was forgotten."""

    events: int
    in_run: int  # of these, those that the files of the run hold until the next training


class Engine:
    """Answers from a run and a log, and takes what it is told, in one process.

    It follows the run's pointer and the log, so that any number of processes agree: what one of
    them acknowledged, the next question to any of them knows. Another version of the run is loaded
    and brought up to date beside the one that answers, and then takes its place; a request that has
    begun ends from the one that it began with.

    Args:
        settings: Where the run and the log are.

    Raises:
        RunError: The run is missing or damaged.
        LogError: The log cannot be opened.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._log: Log = open_log(settings.database)
        self._updating, self._loading = Lock(), Lock()
        self._away_until, self._away = 0.0, LogError("the log was not asked yet")
        self._stop = Signal()
        try:
            self._state = self._loaded()
        except RecError:
            self._log.close()
            raise
        self._follower = Thread(target=self._follow, name="follower", daemon=True)
        self._follower.start()
        self._preparer = Thread(target=self._make_ready, name="preparer", daemon=True)
        self._preparer.start()

    @classmethod
    def open(cls, settings: ServiceSettings) -> "Engine":
        """Open the run and the log of a service."""
        return cls(settings)

    @property
    def has_store(self) -> bool:
        """Whether candidates come from a vector store, which may take its time."""
        return has_store(self._state.base.index)

    @property
    def ready(self) -> bool:
        """Whether it can answer."""
        return not self._stop.is_set()

    def view(self) -> View:
        """Return what answers one request, with all that the log has by now."""
        stale = not self._caught_up()
        return View(self._state, self.settings, stale)

    def certain_view(self) -> View:
        """Return a view with all that the log has, to judge what is to be written.

        Raises:
            LogError: The log could not be asked.
        """
        self._away_until = 0.0
        view = self.view()
        if view.stale:
            raise LogError(str(self._away)) from self._away
        return view

    def add_events(self, events: Sequence[NewEvent], key: str | None = None) -> Appended:
        """Keep events for good, and let the next answer know them.

        Args:
            events: The events.
            key: Idempotency key of the request: told twice, its events count once.

        Raises:
            RequestError: An event that no history can hold; nothing is kept then.
            LogError: They could not be kept.
        """
        view, now = self.certain_view(), present()
        for event in events:
            _check_event(view, event, now)
        appended = self._log.append(events, key)
        self._away_until = 0.0
        try:
            self._prepare({event.user_id for event in events})
        except Exception:  # the events are kept, whatever becomes of this
            logger.exception("lists could not be prepared")
        return appended

    def repeated(self, events: Sequence[NewEvent], key: str) -> Appended | None:
        """Return where events are that were kept with a key before; None where none were.

        Raises:
            KeyConflictError: The key was sent with other events.
            LogError: The log could not be asked.
        """
        return self._log.earlier(events, key)

    def _prepare(self, users: Collection[str]) -> None:
        """Bring in what users told, should the log go away next, and prepare their next lists."""
        view = self.view()
        for user in users if len(users) <= PREPARED else ():
            view.prepare(view.user_id(user))

    def forget(self, user: Id) -> "ForgottenUser":
        """Forget a user, now and in every training to come; return what there was of them.

        Raises:
            RequestError: Nothing is known of such a user.
            LogError: It could not be kept.
        """
        view = self.certain_view()
        known = view.user_id(user)
        if not view.state.live.is_known(known):
            raise RequestError(f"unknown user {shown(user)}: there is nothing to forget")
        in_run = len(view.state.live.stored(known).movies)
        events = in_run + self._log.forget(str(known)).events
        self._away_until = 0.0
        self.view()
        return ForgottenUser(events, in_run)

    def set_movie(self, movie: Id, facts: Mapping[str, Any]) -> Shelf:
        """Add a movie, or change what is known of one; return where it is.

        Raises:
            RequestError: Facts that the run cannot read.
            LogError: It could not be kept.
        """
        view = self.certain_view()
        vocabulary = view.catalogue.vocabulary
        known = as_id(movie, "movie", vocabulary)
        check_present(str(known), "movie")
        check_facts(view.state.base.run, facts)
        self._log.set_movie(str(known), facts)
        number = vocabulary.number(known)
        if number != UNKNOWN and view.state.overlay.shelf(number) is Shelf.REMOVED:
            self._log.show(str(known))
        return self._shelf_of(known, Shelf.LISTED)

    def hide(self, movie: Id) -> Shelf:
        """Keep a movie out of all lists; return where it is."""
        return self._shelve(movie, self._log.hide, Shelf.HIDDEN)

    def show(self, movie: Id) -> Shelf:
        """Let lists show a movie again; return where it is."""
        return self._shelve(movie, self._log.show, Shelf.LISTED)

    def remove(self, movie: Id) -> Shelf:
        """Show a movie nowhere any more, though histories keep it; return where it is."""
        return self._shelve(movie, self._log.remove, Shelf.REMOVED)

    def versions(self) -> list[VersionSummary]:
        """Return the versions of the run that are kept, the newest first."""
        return versions(self.settings.run)

    def promote(self, name: str) -> str:
        """Answer from a version that is kept; return its name.

        Raises:
            RunError: There is no such version, or it is not whole.
        """
        with or_as_before(self.settings.run):
            promote(self.settings.run, name)
            self._reload()
        return name

    def rollback(self) -> str:
        """Answer from the version before; return its name.

        Raises:
            RunError: There is none.
        """
        with or_as_before(self.settings.run):
            name = rollback(self.settings.run)
            self._reload()
        return name

    def close(self) -> None:
        """Stop following, and let go of the log."""
        self._stop.set()
        self._follower.join(timeout=5)
        self._preparer.join(timeout=5)
        self._log.close()

    def _shelve(self, movie: Id, write: Callable[[str], int], shelf: Shelf) -> Shelf:
        view = self.certain_view()
        known = as_id(movie, "movie", view.catalogue.vocabulary)
        view.catalogue.number(known)
        write(str(known))
        return self._shelf_of(known, shelf)

    def _shelf_of(self, movie: Id, written: Shelf) -> Shelf:
        """Return where a movie is, as whoever asks next finds it.

        Args:
            movie: Its id.
            written: What was written, where the log cannot be asked for it.
        """
        self._away_until = 0.0
        view = self.view()
        return written if view.stale else view.state.overlay.shelf(view.catalogue.number(movie))

    def _caught_up(self) -> bool:
        """Bring in what the log has by now; return whether it could be asked."""
        if time.monotonic() < self._away_until:
            return False
        answering = self._state.base.run.folder
        try:
            head = self._log.head()
            if head > self._state.sequence:
                with self._updating:
                    for state in self._towards(self._state, head):
                        self._state = state
        except LogError as error:
            logger.warning("the log is away, and answers are without its newest events: %s", error)
            self._away_until, self._away = time.monotonic() + AWAY, error
            return False
        except RunError:  # the version was removed, because another one answers by now
            if not self._reload() and self._state.base.run.folder == answering:
                raise
        return True

    def _towards(self, state: State, head: int) -> Iterator[State]:
        """Give states that know more and more of the log, up to an entry.

        What is done with a state cannot be done again: each is to be kept, whatever comes next.
        """
        for entries in self._log.through(state.sequence, head):
            for kind, group in groupby(entries, key=_sort):
                some = list(group)
                state = replace(self._with(state, kind, some), sequence=some[-1].sequence)
                yield state

    def _up_to(self, state: State, head: int) -> State:
        """Return a state that knows the log up to an entry."""
        for further in self._towards(state, head):
            state = further
        return state

    def _with(self, state: State, kind: str, entries: list[Entry]) -> State:
        """Return a state that knows more entries, all of one sort."""
        if kind == "events":
            about = state.live.add(entries, state.overlay.snapshot.run)
            state = _moved(state, about & state.overlay.new_movies.keys())
        elif kind == "movies":
            logged = state.logged.with_entries(entries)
            state = replace(state, logged=logged, cache=Cache(self.settings.cached_users))
            if any(entry.kind is Kind.MOVIE for entry in entries):
                state = _laid_over(state)
            else:
                overlay = shelved(state.base, state.overlay, logged)
                state = replace(state, overlay=overlay)
        else:
            left = state.live.forget(self._gone(state, entries))
            for snapshot in (state.base, state.overlay.snapshot):
                snapshot.encoder.forget()
            state = replace(state, cache=Cache(self.settings.cached_users))
            if left & state.overlay.new_movies.keys():
                state = _laid_over(state)
        return state

    def _gone(self, state: State, entries: list[Entry]) -> list[Id]:
        """Return the users whom entries forget, of those who are known."""
        users = state.base.run.users
        known = [str(user) for user in (*users.ids.tolist(), *state.live.new_users)]
        gone = self._log.is_forgotten(known, after=entries[0].sequence - 1)
        found = (id_of(user, users) for user in gone)
        return [user for user in found if user is not None]

    def _loaded(self) -> State:
        """Load the version that answers, with all that the log says beside it."""
        base = ServingSnapshot.load(self.settings.run, open_store=LiveEvents)
        _ = (
            base.run.attributes
        )  # opened now: the folder of a version may be removed while it answers
        live = base.histories
        if not isinstance(live, LiveEvents):  # which the line above opened
            raise TypeError(f"the histories are {type(live).__name__}, not live")
        since = learned_until(base.run.folder, self._log.identity)
        logged = LoggedMovies(moves=read_moves(base.run.folder))
        for entries in self._log.through(0, since, MOVIES):
            logged = logged.with_entries(entries)
        # The version has what was said of its movies by then, and what commands changed since.
        vocabulary = base.run.catalogue.vocabulary
        others = {
            movie: facts
            for movie, facts in logged.facts.items()
            if (known := id_of(movie, vocabulary)) is not None
            and vocabulary.number(known) == UNKNOWN
        }
        logged = replace(logged, facts=others, shelves={})
        state = State(
            base,
            overlaid(base, logged),
            logged,
            live,
            MovieFolding.of(base.run, base.encoder),
            since,
            Cache(self.settings.cached_users),
        )
        if base.run.config.scale.tells_taste:  # nobody trains on what was only watched
            for entries in self._log.through(0, since, {Kind.PLAY}):
                live.add(entries, state.overlay.snapshot.run)
        state = self._up_to(state, self._log.head())
        self._warm(state)
        return state

    def _warm(self, state: State) -> None:
        """Ask a few questions, so that the first request is as fast as the others."""
        if state.base.index.kind is not IndexKind.EXACT:
            prepare(state.base.index.dimension)
        view = View(state, self.settings, stale=False)
        ids = state.base.run.users.ids
        k = min(20, len(view.catalogue))
        for user in ids[:: max(1, len(ids) // WARMED)][:WARMED].tolist():
            view.recommend(user, k)

    def _reload(self) -> bool:
        """Answer from the version that the pointer names by now; return whether it is another."""
        with self._loading:
            if current(self.settings.run) == self._state.base.run.folder:
                return False
            loaded = self._loaded()
            with self._updating:
                self._state = self._up_to(loaded, self._log.head())
            logger.info("answering from %s", loaded.base.run.folder.name)
            return True

    def _make_ready(self) -> None:
        """Make the lists of those who were here last before they ask again, until the end.

        Answers go first: while lists are made, this takes a quarter of the time of one core.
        """
        search_alone()
        pause, folder, users, said = self.settings.poll_seconds, None, list[Id](), ""
        most = min(self.settings.prepared_users, int(PREPARED_SHARE * self.settings.cached_users))
        while not self._stop.wait(pause):
            state, pause = self._state, AGAIN
            if state.base.run.folder != folder:
                folder, users = state.base.run.folder, latest_users(state.base.run, most)
            for user in users:
                began, made = time.monotonic(), True
                try:
                    made = View(self._state, self.settings, stale=False).make_ready(user)
                except Exception as error:  # whoever asks hears of it
                    if str(error) != said:
                        logger.exception("a list could not be made ready")
                    said = str(error)
                rest = REST * (time.monotonic() - began) if made else 0.0
                if self._stop.wait(rest) or self._state.cache is not state.cache:
                    pause = self.settings.poll_seconds
                    break
            del state  # a version that another one follows would be held for as long as the pause

    def _follow(self) -> None:
        """Look for another version of the run, until the end."""
        said, folder, freed = "", None, time.monotonic()
        while not self._stop.wait(self.settings.poll_seconds):
            answering, now = self._state.base.run.folder, time.monotonic()
            if answering != folder or now > freed + FREED:
                folder, freed = answering, now
                give_back_freed()
            try:
                self._reload()
                said = ""
            except Exception as error:  # the one that answers goes on
                if str(error) != said:
                    logger.exception("the newest version cannot answer")
                said = str(error)


def _laid_over(state: State) -> State:
    """Return a state whose movies are laid over the run anew."""
    overlay = overlaid(state.base, state.logged)
    return _moved(replace(state, overlay=overlay), overlay.new_movies)


def _moved(state: State, movies: Collection[int]) -> State:
    """Return a state in which new movies, given by number, are where their ratings say."""
    rated = [number for number in movies if state.live.raters(number)]
    if state.folding is None or not rated:
        return state
    return replace(state, overlay=moved(state.overlay, state.folding, state.live, rated))


def _sort(entry: Entry) -> str:
    """Return what sort of entry it is."""
    if entry.kind in EVENTS:
        return "events"
    return "movies" if entry.kind in MOVIES else "forgotten"


def _check_event(view: View, event: NewEvent, now: int) -> None:
    """Raise a `RequestError` for an event that no history of the run can hold."""
    view.user_id(event.user_id)
    check_present(event.user_id, "user")
    number = view.movie_number(event.movie_id)
    admission = admission_of(view.snapshot.run.config)
    scale = admission.scale
    checked_event_time(event.timestamp, now, AHEAD)
    if not admission.fits_times(np.array([event.timestamp])).all():
        raise RequestError(
            f"the event happens at {event.timestamp}, before 1990; give seconds since 1970, or "
            "leave the timestamp out"
        )
    if event.kind is not Kind.RATING or not scale.tells_taste:
        return
    title = shown(view.catalogue.movies[number])
    if event.rating is None:
        raise RequestError(
            f"the rating of {title} has no value; ratings run from {scale.lowest:g} to "
            f"{scale.highest:g}, and what was only watched is of kind play"
        )
    if not scale.lowest <= event.rating <= scale.highest:
        raise RequestError(
            f"rating {event.rating:g} of {title} is outside the scale: ratings run from "
            f"{scale.lowest:g} to {scale.highest:g}"
        )
    if not admission.fits_ratings(np.array([event.rating])).all():
        raise RequestError(
            f"rating {event.rating:g} of {title} is on no step of the scale: ratings run from "
            f"{scale}"
        )
