"""Asking people through Prefect: a form on the run's page, and what came back through it.

Prefect knows no users, and whoever reaches its API can press Resume. So the form only carries an answer in; whether
that is worth anything, the ledger says.
"""

import re
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

from prefect import suspend_flow_run
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRunInput
from prefect.exceptions import PrefectHTTPStatusError
from prefect.input import RunInput
from pydantic import Field, create_model

from blocks.errors import Refused
from blocks.ledger.approval_decisions import Answer
from blocks.ledger.approval_requests import Request, next_form, read_decisions, read_lately_pending
from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.question import Question, describe_asked, page, read_usual_seconds

_GRACE_SECONDS = 600
"""The ledger ends a request in time; Prefect, which would do it without a word, only if nobody else did."""
_MOST_CHARACTERS = 500
_CODE_LIVES = timedelta(minutes=2)
"""Longer than any code counts."""


def wait_for_answer(request: Request, zone: ZoneInfo, note: str = "") -> NoReturn:
    """Show the form and end this process. Whoever answers has the run begin anew, from its top.

    Raises Prefect's `Pause`, and Refused for a run without a deployment: nobody could bring that one back.
    """
    run = current_run()
    request = next_form(run.connection, request)
    told = _told(request, zone, note)
    create_markdown_artifact(told, key="approval", description=f"Waits for an approval: {request.question['title']}")
    seconds = (request.expires_at - datetime.now(UTC)).total_seconds() + _GRACE_SECONDS
    try:
        suspend_flow_run(wait_for_input=_form(request, told), timeout=int(seconds), key=_key(request))
    except RuntimeError as error:
        raise Refused(f"This run cannot wait for an approval: {error}", "Start its deployment instead.") from None
    raise Refused("Prefect did not let this run wait for an approval.", "Start a new one. Nothing was changed.")


def read_answer(request: Request) -> Answer | None:
    """What came through the form that is open; None where nobody answered in it.

    An answer whose code came into another run's form before is a copy: Refused. For them to be found, an answer is
    forgotten only after the ledger has spent its code.
    """
    with get_client(sync_client=True) as client:
        found = _read_response(client, request)
        if found is None:
            return None
        content = _content(found)
        copied_from = _find_earlier(client, request, found)
    if copied_from:
        why = f"This code was given to run {copied_from} before: it is worth nothing here."
        current_run().record("answer refused", request=request.id, source="form", why=why)
        raise Refused(why)
    return Answer(
        verdict=_text(content, "decision"),
        name=_text(content, "name"),
        code=_text(content, "code"),
        reason=_text(content, "reason"),
        plan=_text(content, "plan"),
        source="form",
    )


def forget_answer(request: Request) -> None:
    """Take what came through the form that is open away from Prefect."""
    with get_client(sync_client=True) as client:
        try:
            client.delete_flow_run_input(UUID(request.run_id), _response_key(request))
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:  # there was none
                raise


def _told(request: Request, zone: ZoneInfo, note: str) -> str:
    run = current_run()
    usual = read_usual_seconds(run.connection, request.procedure, request.environment)
    asked = describe_asked(request, read_decisions(run.connection, request))
    lines = page(Question.model_validate(request.question), usual, asked, request.expires_at.astimezone(zone))
    return "\n".join([*([f"**{plain(note)}**", ""] if note else []), *lines])


def _form(request: Request, told: str) -> type[RunInput]:
    verdicts = [
        *([] if request.frozen else ["approve"]),
        "reject",
        *(["break glass"] if request.break_glass else []),
    ]
    name: Any = Literal[tuple(request.approvers)] if request.approvers else str
    filled_in: dict[str, Any] = {"enum": [request.fingerprint], "default": request.fingerprint}
    fields: dict[str, Any] = {
        # Not the form's own description: Prefect 3.8.8 leaves that no room in a window of 720 pixels.
        "plan": (str, Field(description=_kept_in_lines(told), json_schema_extra=filled_in)),
        "decision": (Literal[tuple(verdicts)], Field(description=_decision(request))),
        "name": (name, Field(description="Who you are, as you were enrolled.")),
        "code": (
            str,
            Field(max_length=12, description="The one-time code that your device shows now. It counts once."),
        ),
        "reason": (str, Field("", max_length=_MOST_CHARACTERS, description="Why; kept in the trail.")),
    }
    return create_model("Approval", __base__=RunInput, **fields)


def _decision(request: Request) -> str:
    alone = " `break glass`: let it through alone, in an incident; say why in 20 characters, everybody is told."
    return f"`reject` ends the run; nothing is changed.{alone if request.break_glass else ''}"


def _kept_in_lines(text: str) -> str:
    """For a field's description: Prefect 3.8.8 makes a space of the last newline in a row."""
    return re.sub(r"\n+", r"\g<0>\n", text)


def _key(request: Request) -> str:
    return f"approval-{request.id}-{request.forms}"


def _response_key(request: Request) -> str:
    """Prefect's own name for what came through a form that a suspended run showed."""
    return f"suspended-{_key(request)}-response"


def _read_response(client: SyncPrefectClient, request: Request) -> FlowRunInput | None:
    found = client.filter_flow_run_input(UUID(request.run_id), _response_key(request), limit=1, exclude_keys=set())
    return next(iter(found), None)


def _content(found: FlowRunInput) -> dict[str, object]:
    try:
        content = found.decoded_value
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _text(content: dict[str, object], name: str) -> str:
    value = content.get(name)
    return value[: _MOST_CHARACTERS + 1] if isinstance(value, str) else ""


def _find_earlier(client: SyncPrefectClient, request: Request, found: FlowRunInput) -> str:
    """The run into whose form the same code was typed before; empty where there is none."""
    lately = datetime.now(UTC) - _CODE_LIVES
    for other in read_lately_pending(current_run().connection, lately):
        theirs = _read_response(client, other) if other.id != request.id else None
        came_before = theirs and theirs.created and found.created and theirs.created < found.created
        if theirs and came_before and _code(theirs) == _code(found):
            return other.run_id
    return ""


def _code(found: FlowRunInput) -> str:
    return _text(_content(found), "code").replace(" ", "")
