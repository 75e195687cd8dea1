"""Alerts over HTTP, to real servers on this machine: JSON that is signed, and Slack's messages."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from support.channels import BriefContract, gateway_with
from support.receivers import Certificate, Receiver, receiver

from llmgate_plugins import Alert, AlertUndelivered, Gateway, Secret
from llmgate_plugins.alerts import Severity
from llmgate_plugins.plugins import SlackChannel, WebhookChannel
from llmgate_plugins.plugins.channels import Persistence, verify_signature
from llmgate_plugins.plugins.channels.signing import sign
from llmgate_plugins.plugins.channels.slack import message
from llmgate_plugins.testing import VirtualClock, VirtualSleeper

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

ALERT = Alert(
    kind="credential_dead",
    subject="env:KEY",
    summary="The key <env:KEY> is refused & left out.",
    severity="critical",
    facts={"provider": "openai", "status": 401, "until": None},
)


class Scene:
    """A gateway with one channel, on a virtual clock: waits between tries take no time."""

    def __init__(self, channel: object) -> None:
        self.clock = VirtualClock(time=1_614_265_330.4)
        self.sleeper = VirtualSleeper(self.clock)
        self.gateway: Gateway = gateway_with(channel, clock=self.clock, sleeper=self.sleeper)

    def tell(self, alert: Alert = ALERT) -> None:
        self.gateway.alerts.report(alert)
        assert self.gateway.alerts.flush(20)

    def error(self, alert: Alert = ALERT) -> str:
        """What the channel raises."""
        (error,) = self.gateway.alerts.try_out(alert).values()
        assert isinstance(error, AlertUndelivered)
        return str(error)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


# ------------------------------------------------------------ the webhook


def test_an_alert_arrives_as_json(there: Receiver) -> None:
    Scene(WebhookChannel(there.url)).tell()
    (posted,) = there.posted
    assert posted.path == "/hook"
    assert posted.headers["content-type"] == "application/json"
    told = json.loads(posted.body)
    assert (told["type"], told["timestamp"]) == ("alert.begun", "2021-02-25T15:02:10.400Z")
    data = told["data"]
    assert posted.headers["webhook-id"] == data.pop("id") != ""
    assert data == {
        "kind": "credential_dead",
        "subject": "env:KEY",
        "summary": "The key <env:KEY> is refused & left out.",
        "severity": "critical",
        "resolved": False,
        "at": 1_614_265_330.4,
        "since": 1_614_265_330.4,
        "until": None,
        "facts": {"provider": "openai", "status": 401, "until": None},
    }


def test_its_end_is_another_type(there: Receiver) -> None:
    scene = Scene(WebhookChannel(there.url))
    scene.tell()
    scene.tell(Alert(kind="credential_dead", subject="env:KEY", summary="It works.", resolved=True))
    assert [json.loads(one.body)["type"] for one in there.posted] == ["alert.begun", "alert.resolved"]


def test_signatures_are_those_of_the_specification() -> None:
    """The example that the libraries of standard-webhooks/standard-webhooks share."""
    headers = sign(
        b'{"test": 2432232314}', id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, secrets=SECRET
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", [SECRET, "any other text"])
def test_what_is_sent_verifies_by_another_implementation(there: Receiver, secret: str) -> None:
    Scene(WebhookChannel(there.url, secret=secret)).tell()
    (posted,) = there.posted
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = b".".join(
        [posted.headers["webhook-id"].encode(), posted.headers["webhook-timestamp"].encode(), posted.body]
    )
    by_openssl = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"],
        input=signed,
        capture_output=True,
        check=True,
    ).stdout
    assert posted.headers["webhook-signature"] == f"v1,{base64.b64encode(by_openssl).decode()}"
    by_cryptography = hmac.HMAC(key, hashes.SHA256())
    by_cryptography.update(signed)
    by_cryptography.verify(by_openssl)


def test_a_receiver_verifies_it_in_one_call(there: Receiver) -> None:
    Scene(WebhookChannel(there.url, secret=SECRET)).tell()
    (posted,) = there.posted
    verify_signature(posted.body, posted.headers, SECRET, now=1_614_265_400)
    verify_signature(posted.body, posted.headers, ["old", Secret(SECRET)], now=1_614_265_400)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda body, headers: (body + b" ", headers), "not ours"),
        (lambda body, headers: (body, {**headers, "webhook-id": "msg_other"}), "not ours"),
        (lambda body, headers: (body, {**headers, "webhook-timestamp": "1614265331"}), "not ours"),
        (lambda body, headers: (body, {**headers, "webhook-timestamp": "1614265000"}), "ago"),
        (lambda body, headers: (body, {**headers, "webhook-timestamp": "yesterday"}), "no Unix time"),
        (lambda body, headers: (body, {**headers, "webhook-signature": "v1,AAAA"}), "not ours"),
        (lambda body, headers: (body, {**headers, "webhook-signature": "nonsense, ü"}), "not ours"),
        (
            lambda body, headers: (
                body,
                {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v9,")},
            ),
            "not ours",
        ),
        (lambda body, headers: (body, {**headers, "webhook-signature": ""}), "is missing"),
        (lambda body, headers: (body, {}), "is missing"),
    ],
)
def test_what_is_not_genuine_is_refused(there: Receiver, spoil: Any, why: str) -> None:
    Scene(WebhookChannel(there.url, secret=SECRET)).tell()
    (posted,) = there.posted
    body, headers = spoil(posted.body, posted.headers)
    with pytest.raises(ValueError, match=why):
        verify_signature(body, headers, SECRET, now=1_614_265_400)


def test_while_a_secret_is_changed_both_sign(there: Receiver) -> None:
    Scene(WebhookChannel(there.url, secret=["the old one", "the new one"])).tell()
    (posted,) = there.posted
    for secret in ("the old one", "the new one"):
        verify_signature(posted.body, posted.headers, secret, now=1_614_265_400)


def test_a_secret_that_is_no_base64_is_said_to_be_none(there: Receiver) -> None:
    scene = Scene(WebhookChannel(there.url, secret="whsec_not base64!"))
    (error,) = scene.gateway.alerts.try_out(ALERT).values()
    assert "goes on in base64" in str(error)
    assert "not base64!" not in str(error)


# ------------------------------------------------------------ tried again


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_work_later_is_sent_again_with_the_same_id_and_growing_waits(status: int) -> None:
    with receiver(status, status, status, 200) as there:
        scene = Scene(WebhookChannel(there.url, secret=SECRET))
        scene.tell()
    assert len(there.posted) == 4
    assert len({one.headers["webhook-id"] for one in there.posted}) == 1
    waits = zip(scene.sleeper.slept, (1, 2, 4), strict=True)
    assert [slept for slept, base in waits if not base / 2 <= slept <= base] == []
    for one in there.posted:  # each try is signed with its own time
        verify_signature(one.body, one.headers, SECRET, now=float(one.headers["webhook-timestamp"]))
    assert there.posted[0].headers["webhook-timestamp"] != there.posted[3].headers["webhook-timestamp"]
    assert scene.gateway.alerts.failed == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_what_is_refused_for_good_is_not_sent_again(status: int) -> None:
    with receiver((status, {}, "no such hook\n")) as there:
        assert Scene(WebhookChannel(there.url)).error() == f"127.0.0.1 answered {status}: no such hook"
        assert len(there.posted) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiver() as elsewhere, receiver((status, {"location": elsewhere.url})) as there:
        told = Scene(WebhookChannel(there.url)).error()
    assert told == f"127.0.0.1 redirects, which is not followed {status}"
    assert (len(there.posted), len(elsewhere.posted)) == (1, 0)


def test_it_gives_up_after_so_many_tries() -> None:
    with receiver(503) as there:
        scene = Scene(WebhookChannel(there.url, attempts=3))
        assert scene.error() == "127.0.0.1 answered 503; tried 3 times"
    assert len(there.posted) == 3


@pytest.mark.parametrize(
    ("asked", "least"), [("30", 30), ("7200", 600), ("Thu, 25 Feb 2021 15:03:00 GMT", 20)]
)
def test_the_wait_that_is_asked_for_is_kept_up_to_ten_minutes(asked: str, least: float) -> None:
    headers = {"retry-after": asked, "date": "Thu, 25 Feb 2021 15:02:40 GMT"}
    with receiver((429, headers), 200) as there:
        scene = Scene(WebhookChannel(there.url))
        scene.tell()
    assert scene.sleeper.slept == [pytest.approx(least)]


def test_a_test_is_sent_once_and_taken_whatever_is_wanted() -> None:
    trial = Alert(kind="test", subject="x", summary="A test.", severity="info")
    with receiver(503) as there:
        channel = WebhookChannel(there.url, min_severity="critical", kinds=["slo_burn"])
        assert Scene(channel).error(trial) == "127.0.0.1 answered 503"
    assert len(there.posted) == 1


def test_nobody_at_home_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    scene = Scene(WebhookChannel(f"http://127.0.0.1:{port}/", attempts=2))
    assert scene.error() == "127.0.0.1: Connection refused; tried 2 times"
    assert len(scene.sleeper.slept) == 1


@pytest.mark.parametrize("silence", [30.0, "drip"])
def test_one_try_ends_when_its_time_is_over_also_where_bytes_drip(silence: Any) -> None:
    with receiver(silence, 200) as there:
        began = time.monotonic()
        Scene(WebhookChannel(there.url, timeout=1.0)).tell()
        assert time.monotonic() - began < 20
    assert len(there.posted) == 2


def test_an_answer_that_is_none_is_tried_again() -> None:
    with receiver(0.0, 204) as there:  # it closes the line without a word
        Scene(WebhookChannel(there.url)).tell()
    assert len(there.posted) == 2


def test_waits_have_numbers_of_their_own(there: Receiver) -> None:
    there.answers = (500, 500, 500, 500, 200)
    scene = Scene(WebhookChannel(there.url, persistence=Persistence(5, first=10, most=20)))
    scene.tell()
    assert [
        base / 2 <= slept <= base for slept, base in zip(scene.sleeper.slept, (10, 20, 20, 20), strict=True)
    ]


# ------------------------------------------------------------ addresses


def test_https_is_checked_against_the_certificates_it_is_given(tls: Certificate) -> None:
    with receiver(tls=tls) as there:
        Scene(WebhookChannel(there.url, ca_file=str(tls.file))).tell()
        told = Scene(WebhookChannel(there.url, attempts=1)).error()
    assert len(there.posted) == 1
    assert told.startswith("127.0.0.1: its certificate is not good: self-signed certificate")


def test_https_of_another_name_is_refused(tls: Certificate) -> None:
    with receiver(tls=tls) as there:
        url = there.url.replace("127.0.0.1", "127.0.0.2")
        told = Scene(WebhookChannel(url, ca_file=str(tls.file), attempts=1)).error()
    assert (len(there.posted), "127.0.0.2" in told) == (0, True)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/x", "can be read on the way"),
        ("ftp://127.0.0.1/x", "must be https"),
        ("hooks.example", "must be https"),
        ("https://user:password@hooks.example/x", "leave it out"),
        ("https://hooks.example:port/x", "cannot be read"),
        ("https://hooks.example/a b", "percent-encoded"),
        ("https://hooks.example/ä", "percent-encoded"),
        ("https:///x", "must be https"),
    ],
)
def test_an_address_that_is_none_is_refused_while_building(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as told:
        WebhookChannel(url)
    assert "password@" not in str(told.value)


def test_plain_http_is_allowed_where_it_is_told_to_be() -> None:
    WebhookChannel("http://hooks.internal/x", insecure=True)
    WebhookChannel("http://localhost:9/x")
    WebhookChannel("http://[::1]:9/x")


def test_an_address_may_be_a_reference_and_is_never_shown(
    there: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOOK_URL", f"{there.url}/T0000/very-secret-part")
    there.answers = (404,)
    channel = WebhookChannel("env:HOOK_URL", secret="env:HOOK_SECRET")
    monkeypatch.setenv("HOOK_SECRET", "very-secret-key")
    Scene(channel).tell()
    assert there.posted[0].path == "/hook/T0000/very-secret-part"
    assert "WebhookChannel could not deliver" in caplog.text
    assert "very-secret" not in caplog.text + repr(vars(channel)) + repr(vars(channel._post))


def test_further_headers_may_be_secrets(there: Receiver) -> None:
    Scene(WebhookChannel(there.url, headers={"authorization": Secret("Bearer abc"), "x-team": "ops"})).tell()
    assert there.posted[0].headers["authorization"] == "Bearer abc"
    assert there.posted[0].headers["x-team"] == "ops"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"min_severity": "warning"}, ["a", "b"]),
        ({"min_severity": "critical"}, ["a"]),
        ({"kinds": ["slo_burn"]}, ["b", "c"]),
        ({}, ["a", "b", "c"]),
    ],
)
def test_a_channel_takes_what_it_wants(there: Receiver, wanted: dict[str, Any], told: list[str]) -> None:
    scene = Scene(WebhookChannel(there.url, **wanted))
    kinds: list[tuple[str, str, Severity]] = [
        ("a", "ejected", "critical"),
        ("b", "slo_burn", "warning"),
        ("c", "slo_burn", "info"),
    ]
    for subject, kind, severity in kinds:
        scene.tell(Alert(kind=kind, subject=subject, summary="x", severity=severity))
    assert [json.loads(one.body)["data"]["subject"] for one in there.posted] == told


@pytest.mark.parametrize(
    "wrong",
    [{"min_severity": "fatal"}, {"kinds": "ejected"}, {"timeout": 0}, {"attempts": 0}],
)
@pytest.mark.parametrize("kind", [WebhookChannel, SlackChannel])
def test_arguments_that_make_no_sense_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind("https://hooks.example/x", **wrong)


# ------------------------------------------------------------ Slack


def test_slack_gets_blocks_and_a_text_for_those_without(there: Receiver) -> None:
    Scene(SlackChannel(there.url)).tell()
    told = json.loads(there.posted[0].body)
    line = "Critical: The key &lt;env:KEY&gt; is refused &amp; left out."
    assert told["text"] == line
    head, facts = told["blocks"]
    text = {"type": "mrkdwn", "text": f":rotating_light: *{line}*", "verbatim": True}
    assert head == {"type": "section", "text": text}
    assert [one["text"] for one in facts["fields"]] == [
        "*kind*\ncredential_dead",
        "*subject*\nenv:KEY",
        "*since*\n2021-02-25 15:02:10 UTC",
        "*provider*\nopenai",
        "*status*\n401",
    ]


def test_what_somebody_wrote_cannot_call_a_whole_channel() -> None:
    alert = Alert(kind="x", subject="<!channel>", summary="<!here> & <https://evil.example|click>")
    assert "<" not in json.dumps(message(alert))


@pytest.mark.parametrize("call", ["@channel", "@Here", "@all", "@everyone"])
def test_nor_can_it_in_mattermost_and_others_that_read_plain_words(call: str) -> None:
    told = json.dumps(message(Alert(kind="x", subject=call, summary=f"team {call} is out of money")))
    assert call not in told
    assert call[1:] in told  # it is still to be read
    assert "ada@allied.example" in json.dumps(
        message(Alert(kind="x", subject="ada@allied.example", summary="y"))
    )


def test_what_somebody_wrote_is_no_link_no_picture_and_no_line_of_its_own() -> None:
    text = "x\n*Critical: all is lost* ![p](https://evil.example/p) [click](https://evil.example)"
    told = message(Alert(kind="x", subject=text, summary=text, facts={"team": text}))
    assert "](" not in json.dumps(told)
    head, facts = told["blocks"]
    texts = [head["text"], *facts["fields"]]
    assert all(one["verbatim"] for one in texts)  # no address becomes a link by itself
    assert [one["text"].count("\n") for one in texts] == [0, 1, 1, 1]


def test_only_what_is_critical_calls_people() -> None:
    for severity, resolved, called in [
        ("critical", False, True),
        ("critical", True, False),
        ("info", False, False),
    ]:
        told = message(
            Alert(kind="x", subject="y", summary="z", severity=severity, resolved=resolved), "<!here>"
        )  # type: ignore[arg-type]
        assert told["text"].startswith("<!here>") is called


def test_a_message_keeps_to_slacks_lengths() -> None:
    facts = {f"fact {number}": "&" * 3_000 for number in range(20)}
    told = message(Alert(kind="x", subject="y" * 5_000, summary="<" * 5_000, facts=facts))
    assert len(told["blocks"][0]["text"]["text"]) <= 3_000
    assert len(told["blocks"][1]["fields"]) <= 10
    assert all(len(one["text"]) <= 2_000 for one in told["blocks"][1]["fields"])


def test_slack_is_asked_again_when_it_says_so() -> None:
    with receiver((429, {"retry-after": "7"}), 200) as there:
        scene = Scene(SlackChannel(there.url))
        scene.tell()
    assert scene.sleeper.slept == [7.0]
    assert len(there.posted) == 2


class TestWebhookChannel(BriefContract):
    @pytest.fixture(autouse=True)
    def _there(self, there: Receiver) -> None:
        self.there = there

    def make_plugin(self) -> WebhookChannel:
        return WebhookChannel(self.there.url, secret=SECRET)


class TestSlackChannel(TestWebhookChannel):
    def make_plugin(self) -> SlackChannel:  # type: ignore[override]
        return SlackChannel(self.there.url)
