"""One thread per process that brings into the books what others hand over, many rows at once."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.draining import Drain
from llmgate_plugins.ledger.entries import Entry, Step, brief_step, step_of
from llmgate_plugins.ledger.forking import hold_over_forks
from llmgate_plugins.ledger.outbox import Outbox
from llmgate_plugins.ledger.tables import Away
from llmgate_plugins.promises import Promise, tell

__all__ = ["Books", "Writer"]

log = logging.getLogger("llmgate.ledger")

SLOW: Final = 1.5
"""Seconds after which rows that the database has not taken go to the outbox, whatever it is doing."""
TICK: Final = 0.25
"""Seconds between two looks at whether something waits for that long."""
DROWSY: Final = 20
"""Looks without any work in sight after which the watch sleeps until there is some."""
LATER: Final = 5.0
"""Seconds until housekeeping that the books did not allow is tried again."""
LOOK: Final = 0.01
"""Seconds between two looks at what other processes have in their outboxes."""
FLUSH: Final = 10.0
"""Seconds for which a flush waits for a database that is away."""


class Books(Protocol):
    """Where a writer writes."""

    def write(self, steps: Sequence[Step]) -> list[Any]:
        """Write them all; per step its answer, or the exception that kept it out.

        Raises `Away` if none of them was written, and none is to blame."""

    def tend(self) -> float | None:
        """A small piece of housekeeping, if it is time; seconds until the next, None for never."""

    def disconnect(self) -> None:
        """Let go of every connection; they come back when needed."""

    def before_fork(self) -> None:
        """Wait until nothing is read, and let go of every connection."""

    def after_fork(self, *, child: bool) -> None:
        """Go on."""


class Writer:
    """A bounded queue and the thread that empties it into the books, or into the outbox.

    Guarantees:
        - Entries are written in the order of their `put`. A promise is kept after the
          commit that holds its row, or after the outbox has it, by a thread of the writer:
          callbacks must be short. What the outbox has is not yet compared with the books: a
          settlement is then answered True.
        - With `ahead`, every row goes to the outbox first, in the hand of whoever has it if that
          calls `write_ahead`, and is as safe there as the file; from there to the books, at most
          every `linger` seconds, many at once. Where the outbox takes none, the books do; after a
          row that these refused, who hands over the next is told what they say to it.
        - While the books are away (locked, full, gone), or take longer than `SLOW` seconds,
          rows go to the outbox, and from there to the books when they are back, in order.
          Only when the outbox takes no more either, promises get a `StorageError`.
        - At most `limit` entries wait. `put` then blocks for up to `patience` seconds and
          raises `StorageError`, having taken nothing.
        - After a fork the child starts with an empty queue, no connection, no outbox and
          threads of its own; the parent goes on and writes what was handed over before. No
          connection is ever open across a fork.

    Args:
        books: Where to write.
        outbox: Where rows wait while the books are away.
        limit: Entries that may wait.
        patience: Seconds for which a full queue blocks.
        batch: The most entries in one transaction.
        linger: Seconds for which more are waited for, where nobody waits for them.
        ahead: Whether rows go to the outbox first.
    """

    def __init__(
        self,
        books: Books,
        outbox: Outbox,
        *,
        limit: int,
        patience: float,
        batch: int,
        linger: float = 0.0,
        ahead: bool = False,
    ) -> None:
        self.books = books
        self.outbox = outbox
        self.drain = Drain(outbox, books.write)
        self.limit = limit
        self.patience = patience
        self.batch = batch
        self.linger = linger
        self.ahead = ahead
        self.gate = threading.RLock()  # held while something is being written
        self.closed = False
        self._tend_at: float | None = None
        self._begin()
        hold_over_forks(self)

    def _begin(self) -> None:
        self._queue: deque[Entry] = deque()
        self._hand: Sequence[Entry] = ()
        self._busy_since: float | None = None  # the writer is at it since then; None: it waits
        self._flushes: list[Entry] = []
        # Reentrant, since a garbage collection in here may close this very writer.
        self._lock = threading.RLock()
        self._filled = threading.Condition(self._lock)
        self._space = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._watch: threading.Thread | None = None
        self._watching = threading.Condition(self._lock)
        self._idle = False
        self._dozing = False
        self._awake = False
        self._stuck = False  # what the writer holds is in the outbox: it takes too long

    @property
    def away(self) -> bool:
        """Whether rows of this process wait in the outbox because the books take none."""
        if not self.outbox.waiting:
            return False
        return not self.ahead or self.drain.fails or self._busy_for(SLOW)

    def write_ahead(self, kind: str, subject: Any) -> bool:
        """Have it safe in the outbox when this returns; False where it must be put instead."""
        if self.closed or self.drain.refuses:
            return False
        try:
            row = (step_of(kind, subject), None) if self.drain.fails else brief_step(kind, subject)
            self.outbox.put_one(row)
        except Exception:  # noqa: BLE001 - whoever waits for the entry that is put is told
            return False
        if self._dozing or self._thread is None:
            with self._lock:
                self._start()
                self._filled.notify()
        return True

    def put(self, entry: Entry) -> Promise[Any]:
        """Hand an entry over. Raises `StorageError` if closed, or full for too long."""
        with self._lock:
            if len(self._queue) >= self.limit:
                self._wait_for_space()
            if self.closed:
                raise StorageError("the ledger is closed; nothing more can be written to it")
            self._queue.append(entry)
            self._start()
            if self._idle or entry.kind == "flush":  # to notify nobody costs as much as all the rest
                self._filled.notify()
            if self._stuck:
                self._watching.notify()
        return entry

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="llmgate-ledger", daemon=True)
            self._thread.start()

    def tend(self) -> None:
        """Tend the books whenever they want it, from the first entry on, also after a fork."""
        with self._lock:
            self._tend_at = time.monotonic()
            self._filled.notify()

    def flush(self) -> None:
        """Return when everything handed over so far is in the books or has failed, and what dead
        processes have left.

        Raises:
            StorageError: The books are away, and rows wait in the outbox.
        """
        if threading.current_thread() is self._thread:
            raise StorageError("a callback of the ledger's writer cannot wait for that writer")
        if self.outbox.waiting_of_all():
            self.drain.look_around = True
        elif not self.outbox.waiting and not self._queue and (self._thread is None or self.closed):
            return
        there = False
        if not self.closed:
            with contextlib.suppress(StorageError):  # closed meanwhile, which flushes
                there = self._is_there(self.put(Entry("flush")))
        if not there and (self.outbox.waiting or not self.closed):
            raise StorageError(
                f"the ledger's database is away; rows wait for it in the outbox {self.outbox.directory}"
            )

    def gather(self, patience: float) -> None:
        """Return when all that any process of this machine had in an outbox is in the books.

        Raises:
            StorageError: It was not within so many seconds.
        """
        until = time.monotonic() + patience
        waiting = self.outbox.waiting_of_all()
        while waiting:
            self.drain.look_around = True  # for a process that has died meanwhile, perhaps
            self.flush()
            now = self.outbox.waiting_of_all()
            waiting = {
                path: then
                for path, then in waiting.items()
                if path in now and now[path].turn == then.turn and now[path].done < then.end
            }
            if waiting and time.monotonic() > until:
                raise StorageError(f"rows wait for the ledger's database in {self.outbox.directory}")
            if waiting:
                time.sleep(LOOK)

    def _is_there(self, pending: Promise[Any]) -> bool:
        """Whether all is in the books; waits for that, as long as there is hope."""
        while True:
            try:
                return pending.exception(TICK) is None  # that the books are away shows in what waits
            except TimeoutError:
                if self._busy_for(FLUSH):
                    return False

    def close(self) -> None:
        """Write what waits, end the threads, let go of the connections. Idempotent."""
        with self._lock:
            self.closed = True
            self._filled.notify_all()
            self._space.notify_all()
            self._watching.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            while thread.is_alive():
                thread.join(TICK)
                if self._busy_for(FLUSH):
                    log.error("the ledger is left before its database answers; rows wait in the outbox")
                    return
        with self.gate:
            self.books.disconnect()

    def _wait_for_space(self) -> None:
        until = time.monotonic() + self.patience
        while len(self._queue) >= self.limit and not self.closed:
            left = until - time.monotonic()
            if left <= 0:
                raise StorageError(
                    f"the ledger's queue of {self.limit} rows has been full for {self.patience:g} s: "
                    "the disk is too slow or another program locks the database"
                )
            self._space.wait(left)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while (entries := self._take()) is not None:
            with self.gate:
                if entries:
                    self._write(entries)
                self.drain.piece()
                self._answer_flushes()
                if self.ahead or not self.outbox.waiting:
                    self._tend()
            self._end_work()
            del entries  # a thread that waits must not keep the last rows alive
        self._begin_work(())
        with self.gate:
            self.drain.close()
            self._answer_flushes(give_up=True)
        self._end_work()

    def _take(self) -> Sequence[Entry] | None:
        """What waits, up to a batch, as soon as something does or is due; None once closed."""
        with self._lock:
            while not self._queue and not self.closed:
                self._idle = True
                told = self._filled.wait(self._until_due())
                self._idle = self._dozing = False
                if not told and not self._queue:
                    self._begin_work(())
                    return ()
            if not self._queue:
                return None
            if self.linger and not self.ahead and len(self._queue) < self.batch and not self.closed:
                self._filled.wait(self.linger)
            entries = [self._queue.popleft() for _ in range(min(len(self._queue), self.batch))]
            self._begin_work(entries)
            self._space.notify_all()
        return entries

    def _begin_work(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            self._hand, self._busy_since = entries, time.monotonic()
            if not self._awake:
                self._wake_watch()

    def _end_work(self) -> None:
        with self._lock:
            self._hand, self._busy_since, self._stuck = (), None, False

    def _busy_for(self, seconds: float) -> bool:
        """Whether the database has not answered for so long."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > seconds

    def _until_due(self) -> float | None:
        self._dozing = True  # first of all: what comes to the outbox from here on wakes this thread
        drain_at = self.drain.due
        if drain_at is not None and self.ahead and self.outbox.waiting:
            self._dozing = False  # it wakes in time by itself
            if not self._flushes:
                drain_at = max(drain_at, self.outbox.since + self.linger)
        due = [at for at in (drain_at, self._tend_at) if at is not None]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _write(self, entries: Sequence[Entry]) -> None:
        flushes = [entry for entry in entries if entry.kind == "flush"]
        steps, told = _made([entry for entry in entries if entry.kind != "flush"])
        if steps:
            self._bring_in(steps, told)
        if flushes:
            self.drain.hurry()
            for flush in flushes:
                flush.mark = self.outbox.taken
            self._flushes += flushes

    def _bring_in(self, steps: Sequence[Step], told: Sequence[Entry]) -> None:
        waiting = self.outbox.waiting  # what comes later must not be faster
        ahead = self.ahead and not self.drain.refuses
        if (waiting or ahead) and self._keep(steps, told, aloud=waiting):
            return
        try:
            answers = self.books.write(steps)
        except Away as away:
            log.warning("the ledger's database is away, rows go to the outbox: %s", away)
            self.drain.later()
            self._keep(steps, told)
            return
        except Exception as error:  # noqa: BLE001 - the thread must go on; every promise is told
            answers = [error] * len(steps)
        away_at = next((place for place, one in enumerate(answers) if isinstance(one, Away)), None)
        if away_at is not None:  # it went away in the midst of rows that were written one by one
            self.drain.later()
            self._keep(steps[away_at:], told[away_at:])
        self.drain.refuses = any(isinstance(one, Exception) for one in answers[:away_at])
        _log_failed([one for one in answers if isinstance(one, Exception)], len(answers))
        tell(entry.told(answer) for entry, answer in zip(told[:away_at], answers[:away_at], strict=True))

    def _keep(self, steps: Sequence[Step], told: Sequence[Entry], *, aloud: bool = True) -> bool:
        """Into the outbox; those that the watch has put there already go again, which changes nothing.

        Args:
            aloud: Whether promises are told if it takes none; whether they were told is returned.
        """
        try:
            self.outbox.put(steps)
        except StorageError as error:
            if aloud:
                _log_failed([error], len(told))
                tell(entry.told(error) for entry in told)
            return aloud
        tell(entry.told(True if entry.kind == "settle" else None) for entry in told)
        return True

    # ------------------------------------------------------------ what else it does

    def _answer_flushes(self, *, give_up: bool = False) -> None:
        if not self._flushes:
            return
        given, now = self.outbox.given, time.monotonic()
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            if flush.mark <= given and not self.drain.look_around:
                tell((flush.told(None),))
            elif give_up or now - flush.since > FLUSH:
                tell((flush.told(StorageError("its database is away")),))
            else:
                self._flushes.append(flush)

    def _tend(self) -> None:
        if self._tend_at is None or time.monotonic() < self._tend_at:
            return
        seconds = None
        try:
            seconds = self.books.tend()
        except StorageError as error:
            log.warning("the ledger could not be tended, and will be later: %s", error)
            seconds = LATER
        except Exception:
            log.exception("the ledger's housekeeping failed, and is tried again later")
            seconds = 60.0
        self._tend_at = None if seconds is None else time.monotonic() + seconds
        self.drain.look_around = True

    # ------------------------------------------------------------ the watch

    def _wake_watch(self) -> None:
        self._awake = True
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, name="llmgate-ledger-watch", daemon=True)
            self._watch.start()
        else:
            self._watching.notify()

    def _look(self) -> None:
        """While the writer works: give to the outbox what the books have not taken for too long."""
        idle = 0
        while True:
            with self._lock:
                at_work = bool(self._busy_since is not None or self._queue)
                if self.closed and not at_work:
                    return
                idle = 0 if at_work else idle + 1
                if idle > DROWSY:
                    self._awake = False
                    self._watching.wait()
                    continue
                self._watching.wait(TICK)
                late = self._late()
            if late:
                self._keep_late(late)
            del late

    def _late(self) -> list[Entry]:
        """What the writer holds, and all that waits behind it, if it has held it for too long."""
        if not self._stuck:
            if not self._busy_for(SLOW):
                return []
            self._stuck = True
        late = [*self._hand, *self._queue]
        flushes = [one for one in self._queue if one.kind == "flush"]
        self._queue.clear()
        self._queue.extend(flushes)
        self._space.notify_all()
        return late

    def _keep_late(self, late: Sequence[Entry]) -> None:
        steps, told = _made([entry for entry in late if entry.kind != "flush" and not entry.done()])
        if steps:
            log.warning("the ledger's database is slow, %d rows go to the outbox", len(steps))
            self._keep(steps, told)

    # ------------------------------------------------------------ fork

    def before_fork(self) -> None:
        """Hold everything still, so that the child finds it whole."""
        self.gate.acquire()
        self._lock.acquire()
        self.outbox.before_fork()
        self.books.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        self.books.after_fork(child=False)
        self.outbox.after_fork()
        self._lock.release()
        self.gate.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the writing thread stayed in the parent."""
        self.books.after_fork(child=True)
        self.drain.forget()
        self.gate = threading.RLock()
        self._begin()


def _made(entries: Sequence[Entry]) -> tuple[list[Step], list[Entry]]:
    """The rows of these, and which those are of; one that cannot be made fails alone, and is told so."""
    steps: list[Step] = []
    made: list[Entry] = []
    for entry in entries:
        try:
            steps.append(entry.step())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            _log_failed([error], len(entries))
            tell((entry.told(error),))
        else:
            made.append(entry)
    return steps, made


def _log_failed(failed: Sequence[BaseException], count: int) -> None:
    if failed:
        log.error("%d of %d entries were not written to the ledger: %s", len(failed), count, failed[0])
