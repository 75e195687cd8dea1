"""`Secret`: resolved late, once, and shown nowhere; `scrub`: finds what was revealed in any form."""

from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.canary import Canary, views

from llmgate_plugins import Secret, masking
from llmgate_plugins.errors import SecretNotFound
from llmgate_plugins.masking import MASK, conceal, scrub


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_known", {})
    monkeypatch.setattr(masking, "_by_head", {})


def resolve_vault(name: str) -> str:
    return f"from-the-vault-{name}"


@pytest.mark.parametrize("shape", ["sk", "plain"])
@pytest.mark.parametrize("revealed", [False, True])
def test_no_view_of_a_secret_shows_it(shape: str, revealed: bool) -> None:
    canary = Canary(shape)
    secret = Secret(canary.reveal())
    if revealed:
        secret.reveal()
    assert not canary.leaks(views("secret", secret))
    assert not canary.leaks(views("in a list", [secret, {"key": secret}]))


def test_what_looks_for_the_canary_finds_it() -> None:
    canary = Canary("plain")
    value = canary.reveal()
    told = [value, quote(value), json.dumps(value), base64.b64encode(f"ab{value}".encode()).decode()]
    assert len(canary.leaks((str(index), text) for index, text in enumerate(told))) == len(told)
    assert canary.leaks(views("plain", {"key": value}))


def test_nothing_is_read_before_it_is_revealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_file, from_variable = Secret(f"file:{tmp_path / 'key'}"), Secret("env:A_LATE_KEY")
    (tmp_path / "key").write_text("written later\n")
    monkeypatch.setenv("A_LATE_KEY", "set later")
    assert (from_file.reveal(), from_variable.reveal()) == ("written later", "set later")


def test_a_value_that_changes_later_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_ROTATED_KEY", "the-first-value")
    secret = Secret("env:A_ROTATED_KEY")
    assert secret.reveal() == "the-first-value"
    monkeypatch.setenv("A_ROTATED_KEY", "the-second-value")
    assert secret.reveal() == "the-first-value"
    assert secret.look_up() == Secret("env:A_ROTATED_KEY").reveal() == "the-second-value"


def test_references_are_equal_whether_revealed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "a-value-of-it")
    revealed, other = Secret("env:A_KEY"), Secret("env:A_KEY")
    revealed.reveal()
    assert revealed == other
    assert hash(revealed) == hash(other)
    assert revealed != Secret("a-value-of-it")
    assert revealed != Secret("env:A_KEY", resolvers={"env": resolve_vault})
    assert Secret("same") == Secret("same") != Secret("other")
    assert hash(Secret("same")) == hash(Secret("same"))
    assert Secret("same") != "same"


def test_a_pickled_reference_is_looked_up_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "a-value-of-it")
    secret = Secret("env:A_KEY")
    secret.reveal()
    assert b"a-value-of-it" not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)).reveal() == "a-value-of-it"
    own = Secret("vault:x", resolvers={"vault": resolve_vault})
    assert pickle.loads(pickle.dumps(own)).reveal() == "from-the-vault-x"


def test_a_pickled_reference_never_becomes_a_value() -> None:
    own = Secret("vault:x", resolvers={"vault": lambda name: f"{name} of this process"})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(own)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret("a value"))


def test_a_copy_is_the_same_secret() -> None:
    secret = Secret("a value")
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_an_empty_value_is_a_value_and_an_empty_reference_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Secret("").reveal() == ""
    assert Secret("").id == Secret("").id
    monkeypatch.setenv("AN_EMPTY_KEY", "")
    with pytest.raises(SecretNotFound, match="env:AN_EMPTY_KEY is empty"):
        Secret("env:AN_EMPTY_KEY").reveal()
    with pytest.raises(SecretNotFound, match="is not set"):
        Secret("os.environ/A_KEY_THAT_IS_NOT_SET").reveal()


def test_many_threads_ask_a_resolver_once() -> None:
    asked: list[str] = []

    def slowly(name: str) -> str:
        asked.append(name)
        time.sleep(0.02)
        return "what the vault said"

    secret = Secret("vault:a", resolvers={"vault": slowly})
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(secret.reveal())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["a"]
    assert set(found) == {"what the vault said"}
    assert len(found) == 16


def test_a_secret_is_masked_in_every_form_it_is_written_in() -> None:
    value = 'a.b*c+"d"\\e/f=g&h(i)[j]%k<é>'
    assert Secret(value).reveal() == value
    forms = [value, json.dumps(value), json.dumps(json.dumps(value)), json.dumps(value, ensure_ascii=False)]
    forms += [repr(value), quote(value), quote_plus(value), quote(value, safe=""), html.escape(value)]
    for text in forms:
        assert scrub(f"<{text}>").replace('"', "").replace("'", "").replace("\\", "") == f"<{MASK}>"
    for before in ("", "a", "ab", "abc", "user:"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            left = scrub(encode(f"{before}{value} after".encode()).decode())
            assert MASK in left
            assert len(left) < len(before) * 2 + 24


def test_of_overlapping_secrets_no_end_is_left() -> None:
    conceal("overlap-one-two")
    conceal("two-three-overlap")
    conceal("overlap-one-two-and-more")
    assert scrub("x overlap-one-two-three-overlap y") == f"x {MASK} y"
    assert scrub("x overlap-one-two-and-more y") == f"x {MASK} y"
    assert scrub("overlap-one-twooverlap-one-two") == MASK


def test_short_values_are_left_alone() -> None:
    Secret("seven77").reveal()
    assert scrub("seven77") == "seven77"
    assert scrub("no secret here") == "no secret here"
    assert scrub("only here: once-more-8", also=["once-more-8", "here"]) == f"only here: {MASK}"
    assert scrub("only here: once-more-8") == "only here: once-more-8"


secrets = st.lists(st.text(min_size=8, max_size=20), min_size=1, max_size=6)
few_letters = st.lists(st.text("ab*", min_size=8, max_size=12), min_size=1, max_size=6)


@given(secrets | few_letters, st.data())
def test_no_known_secret_survives(values: list[str], data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.sampled_from(values) | st.text(max_size=9), max_size=8))
    cut = data.draw(st.integers(0, 8))
    text = "".join(pieces) + values[0][:cut] + values[-1]
    left = scrub(text, also=values)
    assert not [value for value in values if value in left]
    for value in values:
        conceal(value)
    left = scrub(text)
    assert not [value for value in values if value in left]


@pytest.mark.usefixtures("nothing_known")
def test_memory_is_bounded_and_what_is_used_stays_known() -> None:
    conceal("the-key-in-use-all-the-time")
    for number in range(masking.MOST_KNOWN * 2):
        conceal(f"passing-{number:08}-by")
        if number % 1000 == 0:
            conceal("the-key-in-use-all-the-time")
    assert len(masking._known) == masking.MOST_KNOWN
    forms = sum(map(len, masking._known.values()))
    assert sum(map(len, masking._by_head.values())) == forms
    assert scrub("the-key-in-use-all-the-time") == MASK
    assert scrub("passing-00000001-by") == "passing-00000001-by"


@pytest.mark.usefixtures("nothing_known")
def test_thousands_of_secrets_do_not_make_it_slow() -> None:
    text = "An ordinary message of an error, as providers write them. " * 20

    def seconds() -> float:
        best = 1.0
        for _ in range(5):
            begun = time.thread_time()
            scrub(text)
            best = min(best, time.thread_time() - begun)
        return best

    for number in range(4000):
        conceal(f"sk-{number:05}-{hash(str(number)):x}")
    assert seconds() < 0.01, "a search for each of 24,000 forms would take longer"


def test_threads_may_reveal_while_others_scrub() -> None:
    wrong: list[Any] = []

    def reveal(start: int) -> None:
        for number in range(start, start + 300):
            value = f"thread-{number:06}-value"
            conceal(value)
            if value in scrub(f"a {value} b"):
                wrong.append(value)

    threads = [threading.Thread(target=reveal, args=(one * 1000,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
