"""Stand-ins for Slack's and Telegram's APIs, as far as they take messages. Both are held against their descriptions.

Slack's describes forms, and Slack takes the same fields as JSON. Fields of Telegram's whose older names it takes still,
as its changelog says, are listed here.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import pytest
from jsonschema import Draft202012Validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.standins.description import FOLDER, Sent
from tests.standins.discovery import NotDescribed
from tests.standins.standing_in import Act, Answer, Refusal, StandIn, served

SLACK_TOKEN, TELEGRAM_TOKEN = "xoxb-1234-1234-slack-token-of-the-test", "123456789:telegram-token-of-the-test"
CHANNEL, CHANNEL_ID, CHAT = "#ops", "C0OPS0001", -100123
WAIT = 30
"""Seconds that whoever asked too often is told to wait."""
_OLD_NAMES = {"disable_web_page_preview": "link_preview_options"}
"""https://core.telegram.org/bots/api-changelog#december-29-2023"""
_JSON = {"String": (str,), "Integer": (int,), "Boolean": (bool,)}


class SlackDescription:
    def __init__(self) -> None:
        self._content = _read("slack.oas3.json")

    def check(self, sent: Sent, status: int, answered: bytes) -> None:
        """Raises NotDescribed."""
        path = sent.path.removeprefix("/api")
        verb = next(iter(self._content["paths"].get(path, {})), "")
        if verb != sent.method.lower():
            raise NotDescribed(f"There is no {sent.method} {path}.")
        method = self._content["paths"][path][verb]
        schema = method["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        given = json.loads(sent.content)
        if odd := given.keys() - schema["properties"].keys():
            raise NotDescribed(f"{path} has no {sorted(odd)}.")
        if missing := set(schema.get("required", [])) - given.keys():
            raise NotDescribed(f"{path} lacks {sorted(missing)}.")
        place = "200" if json.loads(answered)["ok"] else "default"
        pointer = f"#/paths/{path.replace('/', '~1')}/{verb}/responses/{place}/content/application~1json/schema"
        wrong = Draft202012Validator({**self._content, "$ref": pointer}).iter_errors(json.loads(answered))
        if told := [f"{one.json_path}: {one.message[:200]}" for one in wrong]:
            raise NotDescribed(f"The answer of {path}: {'; '.join(told[:5])}")


class TelegramDescription:
    def __init__(self) -> None:
        content = _read("telegram.json")
        self._methods, self._types = (_by_name(content[kind]) for kind in ("methods", "types"))

    def check(self, sent: Sent, status: int, answered: bytes) -> None:
        """Raises NotDescribed."""
        name = sent.path.rpartition("/")[2]
        if name not in self._methods:
            raise NotDescribed(f"There is no {name}.")
        given = {_OLD_NAMES.get(field, field): one for field, one in json.loads(sent.content or b"{}").items()}
        self._check(name, self._methods[name].get("fields", []), given)
        content = json.loads(answered)
        if content["ok"]:
            (kind,) = self._methods[name]["returns"]
            self._check(kind, self._types[kind]["fields"], content["result"])

    def _check(self, name: str, fields: list[dict[str, Any]], given: dict[str, Any]) -> None:
        known = {one["name"]: one for one in fields}
        missing = {field for field, one in known.items() if one["required"]} - given.keys()
        if missing or given.keys() - known.keys():
            raise NotDescribed(f"{name} lacks {sorted(missing)}, or has no {sorted(given.keys() - known.keys())}.")
        for field, value in given.items():
            plain = [_JSON[kind] for kind in known[field]["types"] if kind in _JSON]
            if len(plain) == len(known[field]["types"]) and type(value) not in {one for some in plain for one in some}:
                raise NotDescribed(f"{name}: {field} is no {known[field]['types']}.")


class SlackStandIn(StandIn):
    def __init__(self, description: SlackDescription) -> None:
        super().__init__(description)  # type: ignore[arg-type]
        self.messages: list[dict[str, Any]] = []

    def routes(self) -> list[tuple[str, str, Act]]:
        return [("POST", "/api/chat.postMessage", self._post)]

    def put_off(self, headers: dict[str, str]) -> Response:
        return JSONResponse({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(WAIT)})

    def _post(self, request: Request, asked: Any) -> Answer:
        """What is wrong is told with status 200."""
        if request.headers.get("Authorization") != f"Bearer {SLACK_TOKEN}":
            return 200, {"ok": False, "error": "invalid_auth"}
        if asked["channel"] not in (CHANNEL, CHANNEL_ID):
            return 200, {"ok": False, "error": "channel_not_found"}
        self.messages.append(asked)
        moment = f"{1_700_000_000 + len(self.messages)}.000100"
        text = asked.get("text") or asked["attachments"][0]["text"]
        message = {"type": "message", "text": text, "ts": moment, "user": "U0BACKST"}
        return 200, {"ok": True, "channel": CHANNEL_ID, "ts": moment, "message": message}


class TelegramStandIn(StandIn):
    def __init__(self, description: TelegramDescription) -> None:
        super().__init__(description)  # type: ignore[arg-type]
        self.messages: list[dict[str, Any]] = []

    def routes(self) -> list[tuple[str, str, Act]]:
        return [("POST", "/bot{token}/sendMessage", self._send), ("POST", "/bot{token}/getMe", self._get_me)]

    def put_off(self, headers: dict[str, str]) -> Response:
        told = {"ok": False, "error_code": 429, "description": f"Too Many Requests: retry after {WAIT}"}
        return JSONResponse({**told, "parameters": {"retry_after": WAIT}}, 429)

    def _answer(self, act: Act, request: Request, sent: Sent) -> Answer:
        """Its own client sends a form, of which all but texts is JSON."""
        if "form" in sent.headers.get("Content-Type", ""):
            given = {name: _read_as_json(value) for name, value in parse_qsl(sent.content.decode())}
            sent = sent._replace(content=json.dumps(given).encode())
        return super()._answer(act, request, sent)

    def _send(self, request: Request, asked: Any) -> Answer:
        self._require_token(request)
        if asked["chat_id"] != CHAT:
            raise _refusal(400, "Bad Request: chat not found")
        if asked.get("parse_mode") == "HTML" and _is_broken(asked["text"]):
            raise _refusal(400, "Bad Request: can't parse entities")
        self.messages.append(asked)
        chat = {"id": CHAT, "type": "supergroup", "title": "ops"}
        return 200, {"ok": True, "result": {"message_id": len(self.messages), "date": 1_700_000_000, "chat": chat}}

    def _get_me(self, request: Request, asked: Any) -> Answer:
        self._require_token(request)
        return 200, {"ok": True, "result": {"id": 123456789, "is_bot": True, "first_name": "b", "username": "b_bot"}}

    def _require_token(self, request: Request) -> None:
        if request.path_params["token"] != TELEGRAM_TOKEN:
            raise _refusal(401, "Unauthorized")


def _read_as_json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _is_broken(text: str) -> bool:
    """As HTML of Telegram's, of which these messages need `<b>` alone."""
    return "<" in text.replace("<b>", "", 1).replace("</b>", "", 1)


def _refusal(code: int, description: str) -> Refusal:
    return Refusal(code, {"ok": False, "error_code": code, "description": description})


def _by_name(described: Any) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = list(described.values()) if isinstance(described, dict) else described
    return {one["name"]: one for one in found}


def _read(name: str) -> Any:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no description beside the checkout, at ../shared/specs/{name}")
    return json.loads(path.read_text())


@contextmanager
def running_slack() -> Iterator[SlackStandIn]:
    """In the end all calls were as Slack describes them."""
    with served(standing_in := SlackStandIn(SlackDescription())):
        yield standing_in
    assert standing_in.violations == [], standing_in.violations


@contextmanager
def running_telegram() -> Iterator[TelegramStandIn]:
    """In the end all calls were as Telegram describes them."""
    with served(standing_in := TelegramStandIn(TelegramDescription())):
        yield standing_in
    assert standing_in.violations == [], standing_in.violations
