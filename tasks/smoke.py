"""The smoke test: what a person would try on the service, as the environment writes it down."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import time
from typing import Any

import httpx

from blocks.errors import BackstopError
from blocks.reference import resolve
from blocks.service import Service, Signature, SmokeStep
from blocks.trust import trusted_certificates


def run_smoke(service: Service, url: str, only: str = "") -> str:
    """Run the steps in order, or only the one of that name. Returns a line about them.

    Raises BackstopError with the first step that failed and what it answered.
    """
    steps = [step for step in service.smoke if not only or step.name == only]
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(_run_steps(steps, url, service.timeout))
    return f"{len(steps)} step{'s' * (len(steps) != 1)} passed"


async def _run_steps(steps: list[SmokeStep], url: str, seconds: float) -> None:
    """Each step ends within `seconds`, which httpx alone promises for a single read only."""
    kept: dict[str, str] = {}
    async with httpx.AsyncClient(
        base_url=url, timeout=seconds, verify=trusted_certificates(), trust_env=False
    ) as client:
        for step in steps:
            try:
                await asyncio.wait_for(_run_step(client, step, kept), seconds)
            except TimeoutError:
                raise BackstopError(f"step '{step.name}' got no answer within {seconds:g} s") from None
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # may quote a header
                raise BackstopError(f"step '{step.name}' got no answer ({type(error).__name__})") from None


async def _run_step(client: httpx.AsyncClient, step: SmokeStep, kept: dict[str, str]) -> None:
    method, path = step.request.split(" ", 1)
    content = step.body if step.json_body is None else json.dumps(_filled(step.json_body, kept))
    headers = {name: str(_filled(value, kept)) for name, value in step.headers.items()}
    if step.json_body is not None:
        headers["Content-Type"] = "application/json"
    if step.sign:
        headers[step.sign.header] = sign(step.sign, content or "", int(time.time()))
    answer = await client.request(method, str(_filled(path, kept)), content=content, headers=headers)
    if answer.status_code != step.expect:
        raise BackstopError(f"step '{step.name}' answered {answer.status_code}, not {step.expect}")
    if step.expect_json or step.keep:
        _read_answer(step, answer, kept)


def _read_answer(step: SmokeStep, answer: httpx.Response, kept: dict[str, str]) -> None:
    try:
        members = answer.json()
        for name, expected in step.expect_json.items():
            if members[name] != expected:
                raise BackstopError(f"step '{step.name}' answered {name} = {str(members[name])[:60]!r}")
        kept.update({name: str(members[member]) for name, member in step.keep.items()})
    except (ValueError, LookupError, TypeError):
        raise BackstopError(f"step '{step.name}' answered without the expected members") from None


def sign(signature: Signature, body: str, now: int) -> str:
    """`t=NOW,v1=HEX`: HMAC-SHA256 over `NOW.BODY`."""
    digest = hmac.new(resolve(signature.secret).encode(), f"{now}.{body}".encode(), hashlib.sha256)
    return f"t={now},v1={digest.hexdigest()}"


def _filled(value: Any, kept: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(member, kept) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, kept) for member in value]
    if isinstance(value, str):
        return re.sub(r"(?<!\$)\{([a-z_]+)\}", lambda match: kept.get(match[1], match[0]), resolve(value))
    return value
