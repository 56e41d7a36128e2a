"""Every kind of secret that only the service checks is rotated while visitors come and go."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.shop.visits import read_visits
from tests.blocks.sinks.contract import HOSTILE
from tests.flows.production import GOOD, Production
from tests.flows.records import Records

ENVIRONMENT, WEBHOOK = "shop-every-kind", "SHOP_WEBHOOK_SECRET"
UPLOADED = b"of a visitor"


@dataclass(frozen=True)
class Mounted:
    """Production, and a directory beside the platform that has the webhook's secret and the job's."""

    production: Production
    folder: Path

    @property
    def front(self) -> httpx.Client:
        return httpx.Client(base_url=self.production.stack.layout.front_url("production"), timeout=5, trust_env=False)

    def rotate(self, secrets: str, **parameters: object) -> dict[str, Any]:
        return self.production.stack.run_procedure("rotate-secrets", ENVIRONMENT, secrets=secrets, **parameters)

    def log_in(self) -> dict[str, str]:
        """The header of somebody who is logged in from now on."""
        password = self.production.stack.layout.credentials.production.demo_password
        with self.front as front:
            answer = front.post("/login", json={"name": "demo", "password": password}).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def upload(self) -> str:
        """The id of what is kept encrypted from now on."""
        with self.front as front:
            return str(front.post("/uploads", content=UPLOADED).raise_for_status().json()["id"])

    def read_all(self) -> dict[str, bytes]:
        """Every upload, by its id; reading it has it encrypted with the key of now."""
        with self.production.connect() as connection, self.front as front:
            ids = [str(id) for (id,) in connection.execute("SELECT id FROM uploads").fetchall()]
            return {id: front.get(f"/uploads/{id}").raise_for_status().content for id in ids}

    def status(self, session: dict[str, str]) -> int:
        with self.front as front:
            return front.get("/tasks", headers=session).status_code


@pytest.fixture
def mounted(production: Production, environments: Path) -> Iterator[Mounted]:
    """Afterwards the service has its first variables again, but for the key that its data is encrypted with."""
    platform, folder = production.platform, environments / "mounted"
    first = platform.read_variables()
    with_job = {**first, "JOB_TOKEN": "the first one"}
    platform.set_variables(with_job)
    folder.mkdir(exist_ok=True)
    for name in (WEBHOOK, "JOB_TOKEN"):
        (folder / name).write_text(with_job[name])
    yield Mounted(production, folder)
    platform.set_variables({**first, "SHOP_DATA_KEYS": platform.read_variables()["SHOP_DATA_KEYS"]})
    production.run_alone(production.start(GOOD).id)


def test_sessions_and_data_outlive_their_keys_until_those_are_retired_and_any_value_arrives_whole(
    mounted: Mounted, environments: Path, records: Records
) -> None:
    production, webhook = mounted.production, " ".join(HOSTILE).strip()
    (environments / "new-webhook-secret").write_text(f"{webhook}\n")
    visits, platform = production.stack.layout.visits, production.platform
    old, session, since = platform.read_variables(), mounted.log_in(), time.time()

    result = mounted.rotate("session, webhook, job, data")

    assert result["ending"] == "Done", result["message"]
    assert "the new job, webhook, and the old is refused" in result["message"]
    assert "the new session; the old is accepted until it is retired" in result["message"]
    assert "the next data is accepted everywhere" in result["message"]
    assert production.unplanned_failures(since) == []
    assert [visit for visit in read_visits(visits, since) if visit.status == 401] == [], "sessions were lost"
    assert mounted.status(session) == 200
    new = platform.read_variables()
    assert new["SHOP_SESSION_SECRET"].split(",")[1:] == [old["SHOP_SESSION_SECRET"]]
    assert new[WEBHOOK] == (mounted.folder / WEBHOOK).read_text() == webhook
    assert new["JOB_TOKEN"] == (mounted.folder / "JOB_TOKEN").read_text() != old["JOB_TOKEN"]
    assert len(new["JOB_TOKEN"]) == 44
    kinds = {event["secret"]: event["kind"] for event in records.events(result["run"], "secret rotated")}
    assert kinds == {"session": "signing-key", "webhook": "provided", "job": "generated"}

    # The key that data is encrypted with is known by now; then it is used, and data of before is readable.
    assert new["SHOP_DATA_KEYS"] == old["SHOP_DATA_KEYS"]
    upload = mounted.upload()
    in_use = mounted.rotate("data")
    assert in_use["ending"] == "Done", in_use["message"]
    used = platform.read_variables()
    assert used["SHOP_DATA_KEYS"] == f"{new['SHOP_DATA_KEY_NEXT']},{old['SHOP_DATA_KEYS']}"
    assert production.unplanned_failures(since) == []
    too_early = mounted.rotate("data", retire_previous=True)
    assert too_early["ending"] == "Refused"
    assert "records are encrypted with it still" in too_early["message"]
    assert platform.read_variables() == used
    assert mounted.read_all()[upload] == UPLOADED

    # Nobody has a token any more that the old key signed; here somebody has, to see that it is refused.
    newer = mounted.log_in()
    retired = mounted.rotate("", retire_previous=True)

    assert retired["ending"] == "Done", retired["message"]
    one_each = {name: used[name].split(",")[0] for name in ("SHOP_SESSION_SECRET", "SHOP_DATA_KEYS")}
    assert platform.read_variables() == {**used, **one_each}
    assert (mounted.status(session), mounted.status(newer)) == (401, 200)
    assert mounted.read_all()[upload] == UPLOADED
    events = records.events(retired["run"], "previous secret retired")
    assert {event["secret"] for event in events} == {"session", "data"}
    again = mounted.rotate("", retire_previous=True)
    assert again["ending"] == "Refused"
    assert "No rotation of shop-every-kind left a previous secret accepted." in again["message"]
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)


def test_one_that_the_service_does_not_use_is_in_the_way(mounted: Mounted, records: Records) -> None:
    platform, first = mounted.production.platform, mounted.production.platform.read_variables()
    platform.set_variables({**first, "SHOP_SESSION_SECRET": "another"})
    refused = mounted.rotate("session")
    platform.set_variables(first)
    assert refused["ending"] == "Refused"
    assert "reports another secrets.session at /health/detailed" in refused["message"]
    assert records.effects(refused["run"]) == []
