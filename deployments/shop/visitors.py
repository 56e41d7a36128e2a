"""A steady stream of visitors to the shop.

`python -m deployments.shop.visitors --url URL --rate 20 --log FILE.jsonl [--mix offers|all]`

Requests begin on a fixed schedule, whether or not earlier ones were answered, as visitors do.
A service that is not there yet is asked again and again. SIGTERM ends it.
"""

import argparse
import asyncio
import itertools
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from deployments.shop.visits import Visit, VisitLog, failures_without_fault, read_visits

__all__ = ["Visit", "failures_without_fault", "main", "read_visits"]

TIMEOUT_SECONDS = 5.0
AT_ONCE = 64
FASTEST = 200.0
USER = "demo"
OFFERS = ("GET", "/offers")
SHARES = {OFFERS: 70, ("GET", "/tasks"): 10, ("POST", "/tasks"): 10, ("GET", "/tasks/{id}"): 10}
"""What visitors ask for, in percent."""


@dataclass
class Visitors:
    client: httpx.AsyncClient
    log: VisitLog
    password: str
    """Empty: nobody logs in, everybody looks at the offers."""
    token: str | None = None
    task_ids: deque[int] = field(default_factory=lambda: deque(maxlen=100))
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    random: Random = field(default_factory=Random)

    async def visit(self) -> None:
        """One request, and what became of it in the log."""
        method, route = self._choose()
        at, began = time.time(), time.monotonic()
        answer: httpx.Response | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self.turns:
                answer = await self._ask(method, route)
            self._remember(method, route, answer)
        except TimeoutError:
            error = f"no answer within {TIMEOUT_SECONDS:g} s"
        except (httpx.HTTPError, ValueError, KeyError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        headers = answer.headers if answer is not None else httpx.Headers()
        self.log.write(
            Visit(
                at=at,
                method=method,
                route=route,
                status=answer.status_code if answer is not None else None,
                ms=round((time.monotonic() - began) * 1000, 1),
                version=headers.get("X-Version"),
                fault=headers.get("X-Injected-Fault"),
                error=error,
            )
        )

    def _choose(self) -> tuple[str, str]:
        if not self.password:
            return OFFERS
        method, route = self.random.choices(list(SHARES), list(SHARES.values()))[0]
        if route.startswith("/tasks") and self.token is None:
            return "POST", "/login"
        if route == "/tasks/{id}" and not self.task_ids:
            return "POST", "/tasks"
        return method, route

    async def _ask(self, method: str, route: str) -> httpx.Response:
        path = route.format(id=self.random.choice(self.task_ids)) if "{id}" in route else route
        headers = {"Authorization": f"Bearer {self.token}"} if route.startswith("/tasks") else {}
        bodies: dict[tuple[str, str], Any] = {
            ("POST", "/login"): {"name": USER, "password": self.password},
            ("POST", "/tasks"): {"title": "Buy tea"},
        }
        return await self.client.request(method, path, headers=headers, json=bodies.get((method, route)))

    def _remember(self, method: str, route: str, answer: httpx.Response) -> None:
        if answer.status_code == 401:
            self.token = None  # The session secret was changed: log in again.
        elif route == "/login" and answer.is_success:
            self.token = answer.json()["token"]
        elif (method, route) == ("POST", "/tasks") and answer.is_success:
            self.task_ids.append(answer.json()["id"])


async def keep_visiting(visitors: Visitors, rate: float) -> None:
    """`rate` requests a second until SIGTERM or SIGINT; those under way are waited for."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    began = time.monotonic()
    async with asyncio.TaskGroup() as under_way:
        for count in itertools.count():
            due = began + count / rate
            if await is_set_within(stop, due - time.monotonic()):
                return
            under_way.create_task(visitors.visit())


async def is_set_within(stop: asyncio.Event, seconds: float) -> bool:
    """Whether it was set by then. Without time left, the answer is immediate."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return stop.is_set()
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def visit_shop(url: str, rate: float, log: Path, password: str) -> None:
    visit_log = VisitLog(log)
    # Without trust_env=False a proxy of the surroundings would be asked for loopback addresses.
    async with httpx.AsyncClient(
        base_url=url,
        timeout=TIMEOUT_SECONDS,
        limits=httpx.Limits(max_connections=AT_ONCE),
        trust_env=False,
    ) as client:
        try:
            await keep_visiting(Visitors(client, visit_log, password), rate)
        finally:
            visit_log.close()


def rate_argument(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= FASTEST:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {FASTEST:g}")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="deployments.shop.visitors", description=__doc__.split("\n")[0])
    parser.add_argument("--url", required=True, help="where the shop answers, such as http://127.0.0.1:8000")
    parser.add_argument("--rate", type=rate_argument, default=20.0, help="requests a second")
    parser.add_argument("--log", type=Path, required=True, help="one JSON line per finished request")
    parser.add_argument("--mix", choices=("offers", "all"), default="all", help="offers, or tasks as well")
    arguments = parser.parse_args()

    password = os.environ.get("SHOP_DEMO_PASSWORD", "") if arguments.mix == "all" else ""
    if arguments.mix == "all" and not password:
        sys.exit("visitors: SHOP_DEMO_PASSWORD is not set; set it, or use --mix offers")
    asyncio.run(visit_shop(arguments.url, arguments.rate, arguments.log, password))


if __name__ == "__main__":
    main()
