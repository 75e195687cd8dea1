"""Alerts by e-mail, to a real SMTP server on this machine."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.channels import BriefContract, gateway_with
from support.receivers import Certificate, Mailbox, mailbox

from llmgate_plugins import Alert, AlertUndelivered
from llmgate_plugins.plugins import EmailChannel
from llmgate_plugins.testing import VirtualClock, VirtualSleeper

ALERT = Alert(
    kind="spend_anomaly", subject="team:search", summary="Über 90 € in one hour.", facts={"cap": 50}
)
FROM, TO = "llmgate <alerts@example.org>", ["ops@example.org", "Ada <ada@example.org>"]


def channel(box: Mailbox, **more: Any) -> EmailChannel:
    return EmailChannel(
        "127.0.0.1", **{"port": box.port, "sender": FROM, "recipients": TO, "security": "none", **more}
    )


class Scene:
    def __init__(self, plugin: EmailChannel) -> None:
        self.clock = VirtualClock(time=1_614_265_330.0)
        self.sleeper = VirtualSleeper(self.clock)
        self.gateway = gateway_with(plugin, clock=self.clock, sleeper=self.sleeper)

    def tell(self, *alerts: Alert) -> None:
        for one in alerts or (ALERT,):
            self.gateway.alerts.report(one)
            assert self.gateway.alerts.flush(20)

    def error(self) -> str:
        (error,) = self.gateway.alerts.try_out(ALERT).values()
        assert isinstance(error, AlertUndelivered)
        return str(error)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as one:
        yield one


def test_an_alert_is_a_plain_letter_to_everybody(box: Mailbox) -> None:
    Scene(channel(box)).tell()
    (letter,) = box.letters
    assert letter.sender == "alerts@example.org"
    assert letter.recipients == ["ops@example.org", "ada@example.org"]
    message = letter.message
    assert message["subject"] == "[llmgate] Warning: Über 90 € in one hour."
    assert (message["from"], message["to"]) == (FROM, ", ".join(TO))
    assert message["date"] == "Thu, 25 Feb 2021 15:02:10 +0000"
    assert message["auto-submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert message.get_content().splitlines() == [
        "Warning: Über 90 € in one hour.",
        "",
        "kind: spend_anomaly",
        "subject: team:search",
        "since: 2021-02-25 15:02:10 UTC",
        "cap: 50",
    ]


def test_the_end_belongs_to_the_same_thread_under_an_id_of_its_own(box: Mailbox) -> None:
    over = Alert(kind="spend_anomaly", subject="team:search", summary="It is over.", resolved=True)
    Scene(channel(box)).tell(ALERT, over)
    first, last = (one.message for one in box.letters)
    assert last["subject"] == "[llmgate] Resolved: It is over."
    assert first["references"] == last["references"]
    assert first["message-id"] != last["message-id"]


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: evil@example.org\r\n\r\nbody", "x\nSubject: y", "x\x00\x0b\u2028y"]
)
def test_no_text_can_add_a_header(box: Mailbox, text: str) -> None:
    Scene(channel(box, prefix=text)).tell(Alert(kind=text, subject=text, summary=text, facts={text: text}))
    (letter,) = box.letters
    assert letter.recipients == ["ops@example.org", "ada@example.org"]
    assert "bcc" not in letter.message
    assert len(letter.message.get_all("subject", [])) == 1


def test_no_name_adds_a_line_to_the_letter_or_stops_it(box: Mailbox) -> None:
    text = "x\nsubject: all is well\r\x1b[2K \ud800"
    Scene(channel(box)).tell(Alert(kind="spend_anomaly", subject=text, summary=text, facts={"team": text}))
    (letter,) = box.letters
    said = letter.message.get_content().splitlines()
    assert [line for line in said if line.startswith("subject: ")] == ["subject: x subject: all is well [2K"]
    assert "\x1b" not in letter.message.get_content()


def test_starttls_and_a_login(tls: Certificate) -> None:
    with mailbox(starttls=tls, login=("ops", "pass word")) as box:
        Scene(
            channel(box, security="starttls", username="ops", password="pass word", ca_file=str(tls.file))
        ).tell()
    (letter,) = box.letters
    assert (letter.encrypted, letter.login) == (True, "ops")


def test_tls_from_the_first_byte_on(tls: Certificate) -> None:
    with mailbox(tls=tls, login=("ops", "pw")) as box:
        Scene(channel(box, security="tls", username="ops", password="pw", ca_file=str(tls.file))).tell()
    (letter,) = box.letters
    assert (letter.encrypted, letter.login) == (True, "ops")


def test_a_server_that_cannot_encrypt_gets_nothing(box: Mailbox) -> None:
    told = Scene(channel(box, security="starttls", username="ops", password="pw")).error()
    assert "STARTTLS extension not supported" in told
    assert (box.letters, box.tries) == ([], 0)


def test_a_certificate_that_is_not_good_gets_nothing(tls: Certificate) -> None:
    with mailbox(starttls=tls) as box:
        assert "its certificate is not good" in Scene(channel(box, security="starttls")).error()
    assert box.letters == []


def test_a_wrong_password_is_said_once_and_not_shown(tls: Certificate) -> None:
    with mailbox(starttls=tls, login=("ops", "right")) as box:
        scene = Scene(
            channel(box, security="starttls", username="ops", password="wrong-one", ca_file=str(tls.file))
        )
        told = scene.error()
    assert "answered 535" in told
    assert "wrong-one" not in told
    assert scene.sleeper.slept == []


def test_a_way_to_log_in_that_neither_knows_is_said_and_not_tried_again(
    tls: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def login(*_: object) -> None:
        raise smtplib.SMTPException("No suitable authentication method found.")

    monkeypatch.setattr(smtplib.SMTP, "login", login)
    with mailbox(starttls=tls, login=("ops", "right")) as box:
        scene = Scene(
            channel(box, security="starttls", username="ops", password="right", ca_file=str(tls.file))
        )
        assert "No suitable authentication method" in scene.error()
        scene.tell()
    assert scene.sleeper.slept == []


def test_what_the_server_cannot_do_now_is_tried_again(box: Mailbox) -> None:
    box.answers = ["451 try later", "452 full", None]
    scene = Scene(channel(box))
    scene.tell()
    assert (len(box.letters), box.tries, len(scene.sleeper.slept)) == (1, 3, 2)


def test_what_it_refuses_for_good_is_not(box: Mailbox) -> None:
    box.answers = ["554 looks like spam"]
    assert Scene(channel(box)).error() == "127.0.0.1 answered 554: looks like spam"
    assert box.tries == 1


def test_recipients_that_are_refused_are_counted_and_the_others_have_it(box: Mailbox) -> None:
    box.refused = {"ops@example.org"}
    assert Scene(channel(box)).error() == "127.0.0.1 took it for 1 of 2 recipients"
    assert box.letters[0].recipients == ["ada@example.org"]
    box.refused = {"ops@example.org", "ada@example.org"}
    assert Scene(channel(box)).error() == "127.0.0.1 answered 550: no such mailbox"


def test_nobody_at_home_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        box = Mailbox()
        box.port = taken.getsockname()[1]
    scene = Scene(channel(box, attempts=2))
    assert scene.error() == "127.0.0.1: Connection refused; tried 2 times"


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        box = Mailbox()
        box.port = silent.getsockname()[1]
        told = Scene(channel(box, attempts=1, timeout=0.1)).error()
    assert told.startswith("127.0.0.1: ")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"security": "ssl"}, "security must be one of"),
        ({"sender": "nobody"}, "no e-mail address"),
        ({"sender": "a@example.org\nBcc: b@example.org"}, "no e-mail address"),
        ({"recipients": []}, "name at least one"),
        ({"recipients": ["a@example.org", "b c"]}, "no e-mail address"),
        ({"username": "ops"}, "go together"),
        ({"port": 0}, "port"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        channel(Mailbox(), **{"port": 25, **wrong})


def test_an_open_line_to_another_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="can be read on the way"):
        EmailChannel("mail.example.org", sender=FROM, recipients=TO, security="none")


class TestEmailChannel(BriefContract):
    @pytest.fixture(autouse=True)
    def _box(self, box: Mailbox) -> None:
        self.box = box

    def make_plugin(self) -> EmailChannel:
        return channel(self.box)
