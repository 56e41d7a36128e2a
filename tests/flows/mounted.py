"""Production with a directory and a Redis of its own beside it: secrets of every kind but that of the database."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from redis import Redis

from blocks.platforms.sandbox import SandboxPlatform
from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import running_redis
from tests.flows.production import GOOD, Production

ENVIRONMENT = "shop-every-kind"
SESSION, DATA, NEXT_DATA = "SHOP_SESSION_SECRET", "SHOP_DATA_KEYS", "SHOP_DATA_KEY_NEXT"
WEBHOOK, JOB, CACHE, DATABASE = "SHOP_WEBHOOK_SECRET", "JOB_TOKEN", "REDIS_URL", "DATABASE_URL"
ROTATE_CACHE = "rotate-redis-url"
CACHE_USERS = ("shop_a", "shop_b")
UPLOADED = b"of a visitor"


@dataclass(frozen=True)
class Mounted:
    """Production, a directory beside the platform that has the webhook's secret and the job's, and a Redis."""

    production: Production
    folder: Path
    given: Path
    """File with the webhook's next secret."""
    cache: Redis
    """As its administrator."""

    @property
    def platform(self) -> SandboxPlatform:
        return self.production.platform

    @property
    def front(self) -> httpx.Client:
        return httpx.Client(base_url=self.production.stack.layout.front_url("production"), timeout=5, trust_env=False)

    def give_webhook(self, secret: str) -> None:
        self.given.write_text(f"{secret}\n")

    def rotate(self, secrets: str, **parameters: object) -> dict[str, Any]:
        return self.production.stack.run_procedure("rotate-secrets", ENVIRONMENT, secrets=secrets, **parameters)

    def agreed_values(self) -> dict[str, str]:
        """What every sink holds and the service uses."""
        values = self.platform.read_variables()
        for name in (WEBHOOK, JOB):
            assert (self.folder / name).read_text() == values[name], name
        eventually(lambda: self._users_on() == self._users_there() == {urlsplit(values[CACHE]).username})
        data = [*values[DATA].split(","), *filter(None, [values.get(NEXT_DATA)])]
        used = {"session": values[SESSION].split(","), "webhook": [values[WEBHOOK]], "data": data}
        eventually(lambda: self._reported() == {name: [_told(one) for one in each] for name, each in used.items()})
        return values

    @contextmanager
    def health_meanwhile(self) -> Iterator[list[int]]:
        """The statuses of its detailed health, which needs Redis and the database, asked again and again."""
        statuses: list[int] = []
        ended = threading.Event()

        def ask() -> None:
            with self.front as front:
                while not ended.wait(0.05):
                    statuses.append(front.get("/health/detailed").status_code)

        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(ask)
            try:
                yield statuses
            finally:
                ended.set()
        asking.result()

    def _reported(self) -> object:
        with self.front as front:
            return front.get("/health/detailed").json()["secrets"]

    def _users_on(self) -> set[str]:
        return {name for name in CACHE_USERS if cast(dict[str, Any], self.cache.acl_getuser(name))["enabled"]}

    def _users_there(self) -> set[str]:
        return {client["user"] for client in self.cache.client_list()} & set(CACHE_USERS)

    def log_in(self) -> dict[str, str]:
        """The header of somebody who is logged in from now on."""
        password = self.production.stack.layout.credentials.production.demo_password
        with self.front as front:
            answer = front.post("/login", json={"name": "demo", "password": password}).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def status(self, session: dict[str, str]) -> int:
        with self.front as front:
            return front.get("/tasks", headers=session).status_code

    def upload(self) -> str:
        """The id of what is kept encrypted from now on."""
        with self.front as front:
            return str(front.post("/uploads", content=UPLOADED).raise_for_status().json()["id"])

    def read(self, upload: str) -> bytes:
        with self.front as front:
            return front.get(f"/uploads/{upload}").raise_for_status().content

    def read_all(self) -> dict[str, bytes]:
        """Every upload, by its id; reading it has it encrypted with the key of now."""
        with self.production.connect() as connection:
            ids = [str(id) for (id,) in connection.execute("SELECT id FROM uploads").fetchall()]
        return {id: self.read(id) for id in ids}


@contextmanager
def mounted_beside(production: Production, folder: Path) -> Iterator[Mounted]:
    """Afterwards the service has its first variables again, but those without which it could not read its data."""
    with running_cache(folder) as (url, cache):
        mounted = Mounted(production, folder / "mounted", folder / "new-webhook-secret", cache)
        platform, first = production.platform, production.platform.read_variables()
        mounted.folder.mkdir(exist_ok=True)
        (mounted.folder / WEBHOOK).write_text(first[WEBHOOK])
        (mounted.folder / JOB).write_text("the first one")
        try:
            platform.set_variables({**first, JOB: "the first one", CACHE: url})
            production.run_alone(production.start(GOOD).id)
            yield mounted
        finally:
            now = platform.read_variables()
            platform.set_variables({**first, **{name: now[name] for name in (DATA, DATABASE)}})
            production.run_alone(production.start(GOOD).id)


@contextmanager
def running_cache(folder: Path) -> Iterator[tuple[str, Redis]]:
    """A Redis that two users take turns to log in to: the first one's URL, and its administrator's connection."""
    may, (first, second) = "~* +@read +@write +ping +client|setname", CACHE_USERS
    (folder / "users.acl").write_text(
        "user default on nopass ~* &* +@all\n"
        "user rotate on >not-kept resetkeys -@all +acl +client|list +client|kill +config|get\n"
        f"user {first} on >the-first-one {may}\n"
        f"user {second} off {may}\n"
    )
    with running_redis(folder, "--aclfile", "users.acl") as url, Redis.from_url(url, decode_responses=True) as cache:
        write_private(folder / ROTATE_CACHE, url.replace("//", "//rotate:not-kept@"))
        yield url.replace("//", f"//{first}:the-first-one@"), cache


def _told(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:16]
