"""Notices as Slack, Telegram and a mail server get them: whole, and never taken for delivered when they were not."""

import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string, policy

import pytest
from apprise.plugins.slack import NotifySlack
from apprise.plugins.telegram import NotifyTelegram

from blocks.errors import Unreachable
from blocks.notices import Notices
from tests.standins.messengers import (
    CHANNEL,
    CHAT,
    SLACK_TOKEN,
    TELEGRAM_TOKEN,
    SlackStandIn,
    TelegramStandIn,
    running_slack,
    running_telegram,
)
from tests.standins.standing_in import Trouble

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")]

TITLE = "shop: 5 > 3 & <b>not bold"
BODY = "It did not answer: <html> & 'quoted' *star* _line_\n– Ünïcode 🚒"
WEBHOOK = "T00000000/B00000000/aaaaaaaaaaaaaaaaaaaaaaaa"
SECRETS = ("token-of-the-test", "aaaaaaaaaaaaaaaaaaaaaaaa")


@pytest.fixture(scope="module")
def shared_slack() -> Iterator[SlackStandIn]:
    with running_slack() as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def shared_telegram() -> Iterator[TelegramStandIn]:
    with running_telegram() as standing_in:
        yield standing_in


@pytest.fixture
def slack(shared_slack: SlackStandIn, monkeypatch: pytest.MonkeyPatch) -> SlackStandIn:
    """In Slack's place: apprise has its address built in."""
    monkeypatch.setattr(NotifySlack, "api_url", f"{shared_slack.url}/api/{{}}")
    monkeypatch.setattr(NotifySlack, "webhook_url", f"{shared_slack.url}/services")
    shared_slack.messages.clear()
    shared_slack.asked.clear()
    return shared_slack


@pytest.fixture
def telegram(shared_telegram: TelegramStandIn, monkeypatch: pytest.MonkeyPatch) -> TelegramStandIn:
    monkeypatch.setattr(NotifyTelegram, "notify_url", f"{shared_telegram.url}/bot")
    shared_telegram.messages.clear()
    shared_telegram.asked.clear()
    return shared_telegram


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever libraries log, no secret of a channel is in it."""
    caplog.set_level(logging.DEBUG)
    yield
    logged = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    assert not [one for one in SECRETS if one in logged]


def send(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CHANNEL", url)
    Notices(channels=["${CHANNEL}"]).send("${CHANNEL}", TITLE, BODY)


def send_in_vain(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(Unreachable, match=r"\$\{CHANNEL\} did not take the message") as raised:
        send(monkeypatch, url)
    assert not [one for one in SECRETS if one in repr(raised.value)]


class TestSlack:
    def test_it_gets_the_words_as_they_are(self, slack: SlackStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        send(monkeypatch, f"slack://{SLACK_TOKEN}/{CHANNEL}")
        (message,) = slack.messages
        (shown,) = message["attachments"]
        assert (shown["title"], shown["text"]) == (as_html(TITLE), as_html(BODY))

    def test_an_error_with_status_200_is_one(self, slack: SlackStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        send_in_vain(monkeypatch, f"slack://{SLACK_TOKEN}/#nowhere")
        send_in_vain(monkeypatch, f"slack://xoxb-1234-1234-other-token-of-the-test/{CHANNEL}")
        assert slack.messages == []

    @pytest.mark.parametrize("trouble", ["put off", "fails"])
    def test_what_was_put_off_is_told_and_never_sent_twice(
        self, slack: SlackStandIn, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
    ) -> None:
        slack.trouble = [trouble]
        send_in_vain(monkeypatch, f"slack://{SLACK_TOKEN}/{CHANNEL}")
        assert len(slack.asked) == 1

    def test_a_webhook_that_is_gone_is_told(self, slack: SlackStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its path is the secret."""
        send_in_vain(monkeypatch, f"slack://{WEBHOOK}/{CHANNEL}")


class TestTelegram:
    def test_it_gets_the_words_as_they_are(self, telegram: TelegramStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        send(monkeypatch, f"tgram://{TELEGRAM_TOKEN}/{CHAT}/")
        (message,) = telegram.messages
        expected = f"<b>{as_html(TITLE)}</b>\n{as_html(BODY)}"
        assert message["text"].replace("\r\n", "\n").replace("&apos;", "'").replace("&#x27;", "'") == expected

    def test_a_chat_that_is_not_there_is_told(self, telegram: TelegramStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        send_in_vain(monkeypatch, f"tgram://{TELEGRAM_TOKEN}/5/")
        send_in_vain(monkeypatch, f"tgram://987654321:other-token-of-the-test/{CHAT}/")
        assert telegram.messages == []

    @pytest.mark.parametrize("trouble", ["put off", "fails"])
    def test_what_was_put_off_is_told_and_never_sent_twice(
        self, telegram: TelegramStandIn, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
    ) -> None:
        telegram.trouble = [trouble]
        send_in_vain(monkeypatch, f"tgram://{TELEGRAM_TOKEN}/{CHAT}/")
        assert len(telegram.asked) == 1


class TestMail:
    def test_it_gets_the_words_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with running_mail() as mail:
            send(monkeypatch, mail.url())
        (text,) = mail.taken
        message = message_from_string(text, policy=policy.default)
        assert message["Subject"] == TITLE
        body = message.get_body(("plain",)) or message.get_body(("html",))
        assert body is not None
        words = body.get_content()
        assert BODY.splitlines()[1] in words
        assert as_html("<html> &") in words or "<html> &" in words

    def test_an_address_that_is_refused_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with running_mail() as mail:
            send_in_vain(monkeypatch, mail.url(to="nobody@example.com"))
        assert mail.taken == []


class Mail(socketserver.ThreadingTCPServer):
    """A mail server that takes what is for ops@example.com."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.taken: list[str] = []

    def url(self, to: str = "ops@example.com") -> str:
        port = self.server_address[1]
        return f"mailto://127.0.0.1:{port}/?from=backstop@example.com&to={to}&mode=insecure&smtp=127.0.0.1"


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say("220 mail of the test")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            if line.upper().startswith("RCPT") and "ops@example.com" not in line:
                self._say("550 no such user here")
            elif line.upper() == "DATA":
                self._say("354 go on")
                self._take()
            elif line.upper() == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _take(self) -> None:
        lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
        assert isinstance(self.server, Mail)
        self.server.taken.append("\n".join(line.removeprefix(".") for line in lines))
        self._say("250 taken")

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@contextmanager
def running_mail() -> Iterator[Mail]:
    with Mail() as mail:
        thread = threading.Thread(target=mail.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield mail
        finally:
            mail.shutdown()
            thread.join()


def as_html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
