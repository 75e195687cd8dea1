"""The server is silent, dead or at fault: calls go on by what was set aside, and no limit is passed."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.patience import PATIENCE
from support.servers import RedisServer
from support.state_conformance import DAY, hold, lease_of, settled

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import Grant, Refusal, Reservation
from llmgate_plugins.state.redis import RedisState

Connect = Callable[..., RedisState]


@pytest.fixture
def state(own_server: RedisServer, connect: Connect) -> RedisState:
    return connect(f"{own_server.url}?workers=4&timeout=150ms")


def ask(
    state: RedisState, key: str, amount: int, limit: int, *, enforced: bool = True, strict: bool = True
) -> Grant | Refusal:
    wanted = Reservation(key=key, amount=amount, limit=limit, window=DAY, enforced=enforced, strict=strict)
    answer = settled(state.reserve([wanted], ttl=60))
    assert isinstance(answer, Grant | Refusal)
    return answer


def silence(server: RedisServer, state: RedisState) -> None:
    """Pause the server, and let the state notice."""
    server.pause()
    while not state.line.outage.over():
        ask(state, "noticing", 1, 10, enforced=False)


def use_for_a_while(state: RedisState, key: str, limit: int) -> int:
    """Spend 1 at a time until a slice is set aside; what was spent."""
    spent = 0
    end = time.monotonic() + 60
    while time.monotonic() < end:
        settled(state.settle(lease_of(hold(state, key, 1, limit)), {key: 1}))
        spent += 1
        if settled(state.spent(key, window=DAY))[1] > 0:
            return spent
        time.sleep(0.02)
    raise AssertionError("nothing was set aside")


def wait_until_back(state: RedisState) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            settled(state.spent("anything"))
        except StorageError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("it did not come back")


def wait_until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(StorageError):  # a busy machine may be slow to answer
            if true():
                return
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_silent_server_costs_a_little_at_first_and_then_nothing(
    own_server: RedisServer, state: RedisState
) -> None:
    lease_of(hold(state, "warm", 1, 10))
    own_server.pause()
    took = []
    for _ in range(300):
        begin = time.monotonic()
        assert isinstance(ask(state, "soft", 1, 10, enforced=False), Grant)
        took.append(time.monotonic() - begin)
    own_server.resume()
    assert sum(one > 0.1 for one in took) <= 6, "it waits 150 ms for five answers, no more"
    assert statistics.median(took) < 0.02
    wait_until_back(state)


def test_a_limit_that_must_hold_refuses_where_nothing_was_set_aside(
    own_server: RedisServer, state: RedisState
) -> None:
    lease_of(hold(state, "warm", 1, 10))
    own_server.kill()
    for _ in range(10):
        with pytest.raises(StorageError, match=r"cannot be reached.*nothing of 'budget' was set aside"):
            ask(state, "budget", 1, 1_000_000)


def test_a_process_that_starts_during_an_outage_refuses_what_must_hold_and_shares_out_the_rest(
    own_server: RedisServer, connect: Connect
) -> None:
    own_server.kill()
    state = connect(f"{own_server.url}?workers=4")
    with pytest.raises(StorageError, match="set aside"):
        ask(state, "budget", 1, 1_000_000)
    assert isinstance(ask(state, "soft", 500, 100, enforced=False), Grant)
    assert isinstance(ask(state, "rpm", 25, 100, strict=False), Grant)
    refusal = ask(state, "rpm", 1, 100, strict=False)
    assert isinstance(refusal, Refusal), "a fourth of the limit is this worker's"
    assert refusal.available == 0


def test_a_share_is_one_for_a_whole_outage_however_the_server_fails_at_first(
    own_server: RedisServer, state: RedisState
) -> None:
    lease_of(hold(state, "warm", 1, 10))
    own_server.pause()
    first = ask(state, "rpm", 10, 100, strict=False)
    assert isinstance(first, Grant)
    time.sleep(2.2)  # the thread has looked after things at least once, and it is not yet known to be down
    assert isinstance(ask(state, "rpm", 15, 100, strict=False), Grant)
    assert isinstance(ask(state, "rpm", 1, 100, strict=False), Refusal), "a fourth of the limit, once"


def test_a_share_is_one_for_as_long_as_the_server_answers_with_errors(
    own_server: RedisServer, state: RedisState
) -> None:
    lease_of(hold(state, "warm", 1, 10))
    own_server.client.config_set("maxmemory", "1")  # whatever would write is refused
    assert isinstance(ask(state, "rpm", 25, 100, strict=False), Grant)
    time.sleep(1.2)
    assert isinstance(ask(state, "rpm", 1, 100, strict=False), Refusal)
    own_server.client.config_set("maxmemory", "0")
    assert isinstance(ask(state, "rpm", 50, 100, strict=False), Grant)
    time.sleep(1.2)
    own_server.pause()
    assert isinstance(ask(state, "rpm", 25, 100, strict=False), Grant), "another outage, another share"


def test_what_is_to_be_told_to_a_server_that_refuses_it_does_not_grow_with_the_calls(
    own_server: RedisServer, state: RedisState
) -> None:
    settled(state.settle(lease_of(hold(state, "soft", 5, 100)), {"soft": 5}))
    own_server.client.config_set("maxmemory", "1")
    for turn in range(3):
        for _ in range(50):
            grant = ask(state, "soft", 1, 10, enforced=False)
            assert isinstance(grant, Grant)
            assert settled(state.settle(grant.lease, {"soft": 2}))
        if turn < 2:
            time.sleep(1.2)  # the thread has tried to tell it
    assert len(state.aside._later) == 0
    own_server.client.config_set("maxmemory", "0")
    wait_until(lambda: settled(state.spent("soft", window=DAY)) == (5 + 150 * 2, 0))


def test_what_may_have_been_told_before_the_server_refused_it_is_told_once(
    own_server: RedisServer, state: RedisState
) -> None:
    settled(state.settle(lease_of(hold(state, "soft", 5, 100)), {"soft": 5}))
    own_server.pause()
    grant = ask(state, "soft", 1, 10, enforced=False)
    assert isinstance(grant, Grant)
    assert settled(state.settle(grant.lease, {"soft": 2}))  # this arrives, and nobody hears of it
    own_server.resume()
    own_server.client.config_set("maxmemory", "1")
    time.sleep(2.2)
    own_server.client.config_set("maxmemory", "0")
    wait_until(lambda: settled(state.spent("soft", window=DAY)) == (5 + 2, 0))
    time.sleep(1.2)
    assert settled(state.spent("soft", window=DAY)) == (5 + 2, 0)


def test_slots_are_shared_out(own_server: RedisServer, state: RedisState) -> None:
    own_server.kill()
    slots = [Reservation(key="slots", amount=1, limit=8)]
    leases = [lease_of(settled(state.reserve(slots, ttl=60))) for _ in range(2)]
    assert isinstance(settled(state.reserve(slots, ttl=60)), Refusal)
    settled(state.release(leases[0]))
    lease_of(settled(state.reserve(slots, ttl=60)))


def test_a_limit_in_use_has_a_slice_that_an_outage_is_lived_on_and_no_more(
    own_server: RedisServer, state: RedisState
) -> None:
    limit = 5_000
    before = use_for_a_while(state, "budget", limit)
    spent, slice_ = settled(state.spent("budget", window=DAY))
    assert (spent, slice_) == (before, limit // 100)
    own_server.pause()
    granted = []
    for _ in range(slice_ + 20):
        answer = ask(state, "budget", 1, limit)
        if isinstance(answer, Grant):
            granted.append(answer.lease)
        else:
            assert isinstance(answer, Refusal)
            assert answer.available == 0
    assert len(granted) == slice_
    for lease in granted[:30]:
        assert settled(state.settle(lease, {"budget": 1}))
        assert not settled(state.settle(lease, {"budget": 1}))
    own_server.resume()
    wait_until_back(state)
    for lease in granted[30:]:
        assert settled(state.settle(lease, {"budget": 0}))
    wait_until(lambda: settled(state.spent("budget", window=DAY)) == (before + 30, 0))


def test_what_was_granted_from_a_slice_and_is_asked_for_again_after_the_outage_is_held_once(
    own_server: RedisServer, state: RedisState
) -> None:
    limit = 5_000
    before = use_for_a_while(state, "budget", limit)
    slice_ = settled(state.spent("budget", window=DAY))[1]
    silence(own_server, state)
    lease_of(hold(state, "budget", 5, limit, id="call:1"))
    own_server.resume()
    wait_until_back(state)
    lease = lease_of(hold(state, "budget", 5, limit, id="call:1"))
    assert settled(state.spent("budget", window=DAY)) == (before, slice_ + 5)
    assert settled(state.settle(lease, {"budget": 3}))
    wait_until(lambda: settled(state.spent("budget", window=DAY)) in ((before + 3, slice_), (before + 3, 0)))


def test_a_slice_given_back_leaves_what_was_freed_for_others(
    own_server: RedisServer, state: RedisState
) -> None:
    limit = 5_000
    use_for_a_while(state, "budget", limit)
    silence(own_server, state)
    lease = lease_of(ask(state, "budget", 10, limit))
    assert settled(state.settle(lease, {"budget": 4}))
    answer = ask(state, "budget", limit // 100 - 4, limit)
    assert isinstance(answer, Grant), "what was held and not spent may be drawn again"
    own_server.resume()


def test_the_last_of_a_limit_is_not_kept_back_in_a_slice_of_ones_own(
    own_server: RedisServer, state: RedisState
) -> None:
    limit = 1_000
    before = use_for_a_while(state, "budget", limit)
    assert settled(state.spent("budget", window=DAY)) == (before, 10)
    lease_of(hold(state, "budget", limit - before, limit))
    assert settled(state.spent("budget", window=DAY)) == (before, limit - before)


def test_a_slice_of_a_process_that_died_counts_as_spent(
    own_server: RedisServer, connect: Connect, state: RedisState
) -> None:
    limit = 5_000
    before = use_for_a_while(state, "budget", limit)
    client = own_server.client
    (leases,) = client.keys("*:z")
    client.zadd(leases, dict.fromkeys(client.zrange(leases, 0, -1), time.time() - 1))
    state.line.close()  # it says nothing more
    other = connect(own_server.url)
    assert settled(other.spent("budget", window=DAY)) == (before + limit // 100, 0)


def test_a_process_that_ends_gives_its_slices_back(
    own_server: RedisServer, connect: Connect, state: RedisState
) -> None:
    before = use_for_a_while(state, "budget", 5_000)
    state.close()
    assert settled(connect(own_server.url).spent("budget", window=DAY)) == (before, 0)


# Uses a limit until something of it is set aside, and ends without a word.
FORGETFUL = """
import sys, time
from llmgate_plugins.services import Reservation
from llmgate_plugins.state import open_state

state, spent = open_state(sys.argv[1]), 0
wanted = [Reservation(key="budget", amount=1, limit=5_000, window=86400.0)]
while state.spent("budget", window=86400.0)[1] == 0:
    state.settle(state.reserve(wanted, ttl=60).lease, {"budget": 1})
    spent += 1
    time.sleep(0.02)
print(spent)
"""


def test_a_program_that_ends_without_closing_gives_its_slices_back(
    own_server: RedisServer, state: RedisState
) -> None:
    command = [sys.executable, "-c", FORGETFUL, f"{own_server.url}?timeout=5s"]
    spent = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert settled(state.spent("budget", window=DAY)) == (spent, 0)


# Spends 1 at a time: gently, so that something of the limit is left when the server is lost, and as
# fast as it can after that; tells how much it spent, and how much of it in an outage. Files say
# what it is time for.
SPENDER = """
import sys, time
from pathlib import Path
from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import Grant, Reservation
from llmgate_plugins.state import open_state

state, spent, alone = open_state(sys.argv[1]), 0, 0
wanted = [Reservation(key="budget", amount=1, limit=int(sys.argv[2]), window=366 * 86400.0, estimate=1)]
went_on, back, over = (Path(sys.argv[3], name) for name in ("went on", "back", "over"))
while not over.exists():
    try:
        grant = state.reserve(wanted, ttl=60)
    except StorageError:
        grant = None
    if isinstance(grant, Grant):
        state.settle(grant.lease, {"budget": 1})
        spent += 1
        if grant.lease.aside is not None:
            alone += 1
            went_on.touch()
    if grant is None or not back.exists():
        time.sleep(0.02)
state.close()
print(spent, alone)
"""


def test_processes_that_lose_the_server_for_a_while_spend_no_more_than_the_limit(
    own_server: RedisServer, state: RedisState, tmp_path: Path
) -> None:
    limit, year = 2_000, 366 * DAY
    command = [sys.executable, "-c", SPENDER, own_server.url, str(limit), str(tmp_path)]

    def used() -> tuple[int, int]:
        return settled(state.spent("budget", window=year))

    with contextlib.ExitStack() as ending:
        processes = [
            ending.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(3)
        ]
        ending.callback((tmp_path / "over").touch)
        wait_until(lambda: used()[1] >= 20)  # slices
        (tmp_path / "went on").unlink(missing_ok=True)  # a busy machine may have been slow to answer
        own_server.pause()
        wait_until((tmp_path / "went on").exists)
        time.sleep(1)
        own_server.resume()
        (tmp_path / "back").touch()
        wait_until(lambda: sum(used()) == limit)
        (tmp_path / "over").touch()
        told = [tuple(map(int, process.communicate()[0].split())) for process in processes]
    spent, alone = (sum(one) for one in zip(*told, strict=True))
    assert alone > 0, "they went on"
    assert spent <= limit
    wait_until_back(state)
    assert used() == (spent, 0)


def test_of_a_limit_worth_few_calls_nothing_is_set_aside(state: RedisState) -> None:
    for _ in range(3):
        settled(state.settle(lease_of(hold(state, "budget", 5, 400)), {"budget": 5}))
        time.sleep(0.6)
    assert settled(state.spent("budget", window=DAY)) == (15, 0)


def test_what_soft_limits_spent_meanwhile_is_told_when_the_server_is_back(
    own_server: RedisServer, state: RedisState
) -> None:
    settled(state.settle(lease_of(hold(state, "soft", 5, 100)), {"soft": 5}))
    own_server.pause()
    leases = []
    for _ in range(30):
        grant = ask(state, "soft", 1, 10, enforced=False)
        assert isinstance(grant, Grant)
        leases.append(grant.lease)
    for lease in leases[:20]:
        assert settled(state.settle(lease, {"soft": 2}))
    own_server.resume()
    wait_until_back(state)
    for lease in leases[20:]:
        assert settled(state.settle(lease, {"soft": 3}))
    wait_until(lambda: settled(state.spent("soft", window=DAY)) == (5 + 20 * 2 + 10 * 3, 0))


def test_a_lease_of_the_server_that_ends_during_an_outage_is_settled_after_it(
    own_server: RedisServer, state: RedisState
) -> None:
    lease = lease_of(hold(state, "budget", 30, 100))
    own_server.pause()
    assert settled(state.settle(lease, {"budget": 20}))
    assert not settled(state.settle(lease, {"budget": 20}))
    own_server.resume()
    wait_until_back(state)
    wait_until(lambda: settled(state.spent("budget", window=DAY)) == (20, 0))


def test_values_and_counters_are_those_of_this_process_meanwhile(
    own_server: RedisServer, state: RedisState
) -> None:
    settled(state.put("answer", b"shared"))
    own_server.pause()
    for _ in range(6):
        assert settled(state.get("answer")) is None
    settled(state.put("answer", b"own"))
    assert settled(state.get("answer")) == b"own"
    assert [settled(state.add("count", ttl=60)) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(StorageError, match="cannot be reached"):
        settled(state.delete("answer"))
    own_server.resume()
    wait_until_back(state)
    wait_until(lambda: settled(state.get("answer")) == b"shared")


@pytest.mark.parametrize("key", ["*:epoch", "*:m:*budget", "*:z"])
def test_data_of_another_kind_under_a_key_of_ours_is_an_error_that_is_told(
    own_server: RedisServer, state: RedisState, key: str
) -> None:
    lease = lease_of(hold(state, "budget", 30, 100))
    client = own_server.client
    (name,) = client.keys(key)
    client.delete(name)
    client.set(name, "x") if b"epoch" not in name else client.lpush(name, "x")
    with pytest.raises(StorageError, match=r"answered with an error: .*WRONGTYPE"):
        hold(state, "budget", 1, 100)
    client.delete(name)
    lease_of(hold(state, "budget", 1, 100))
    settled(state.settle(lease, {"budget": 1}))


@pytest.mark.parametrize(
    ("most", "policy", "told"),
    [("8mb", "volatile-lru", 1), ("8mb", "noeviction", 0), ("0", "allkeys-lru", 0)],
)
def test_a_server_that_may_forget_counters_is_told_of(
    own_server: RedisServer,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    most: str,
    policy: str,
    told: int,
) -> None:
    own_server.client.config_set("maxmemory", most)
    own_server.client.config_set("maxmemory-policy", policy)
    state = connect(own_server.url)
    for _ in range(2):
        lease_of(hold(state, "budget", 1, 100))
        own_server.client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(1.1)
    said = [one.getMessage() for one in caplog.records if "maxmemory-policy" in one.getMessage()]
    assert len(said) == told
    assert all(policy in line and "noeviction" in line for line in said)


def test_a_server_that_wants_a_password_is_told_of_without_showing_one(
    own_server: RedisServer, connect: Connect
) -> None:
    own_server.client.config_set("requirepass", "secret")
    state = connect(own_server.url.replace("//", "//:canary@"))
    with pytest.raises(StorageError, match="refuses the user or the password") as caught:
        settled(state.spent("budget"))
    assert "canary" not in repr(caught.value)
    right = connect(own_server.url.replace("//", "//:secret@"))
    assert settled(right.spent("budget")) == (0, 0)


def test_what_was_refused_in_doubt_is_not_held_when_the_server_is_back(
    own_server: RedisServer, state: RedisState
) -> None:
    settled(state.settle(lease_of(hold(state, "known", 1, 10)), {"known": 1}))
    own_server.pause()
    with pytest.raises(StorageError):
        ask(state, "known", 5, 10)  # it is on its way, and will be granted
    own_server.resume()
    wait_until_back(state)
    wait_until(lambda: settled(state.spent("known", window=DAY)) == (1, 0))
    time.sleep(0.1)
    assert settled(state.spent("known", window=DAY)) == (1, 0)
