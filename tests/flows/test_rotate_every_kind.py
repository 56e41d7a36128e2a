"""Every kind of secret but the database's is rotated while visitors come and go."""

import time

from deployments.shop.visits import read_visits
from tests.blocks.sinks.contract import HOSTILE
from tests.flows.mounted import CACHE, DATA, ENVIRONMENT, JOB, NEXT_DATA, SESSION, UPLOADED, WEBHOOK, Mounted
from tests.flows.records import Records


def test_sessions_and_data_outlive_their_keys_until_those_are_retired_and_any_value_arrives_whole(
    mounted: Mounted, records: Records
) -> None:
    production, webhook = mounted.production, " ".join(HOSTILE).strip()
    mounted.give_webhook(webhook)
    visits, platform = production.stack.layout.visits, mounted.platform
    old, session, since = platform.read_variables(), mounted.log_in(), time.time()

    with mounted.health_meanwhile() as health:
        result = mounted.rotate("session, webhook, job, data, cache")

    assert result["ending"] == "Done", result["message"]
    assert "the new cache, job, webhook, and the old is refused" in result["message"]
    assert "the new session; the old is accepted until it is retired" in result["message"]
    assert "the next data is accepted everywhere" in result["message"]
    assert production.unplanned_failures(since) == []
    assert [visit for visit in read_visits(visits, since) if visit.status == 401] == [], "sessions were lost"
    assert set(health) == {200}, "Redis or the database was missed"
    assert mounted.status(session) == 200
    new = mounted.agreed_values()
    assert new[CACHE] != old[CACHE]
    assert new[SESSION].split(",")[1:] == old[SESSION].split(",")
    assert new[WEBHOOK] == (mounted.folder / WEBHOOK).read_text() == webhook
    assert new[JOB] == (mounted.folder / JOB).read_text() != old[JOB]
    assert len(new[JOB]) == 44
    kinds = {event["secret"]: event["kind"] for event in records.events(result["run"], "secret rotated")}
    assert kinds == {"session": "signing-key", "webhook": "provided", "job": "generated", "cache": "redis-acl"}

    # The key that data is encrypted with is known by now; then it is used, and data of before is readable.
    assert new[DATA] == old[DATA]
    upload = mounted.upload()
    in_use = mounted.rotate("data")
    assert in_use["ending"] == "Done", in_use["message"]
    used = platform.read_variables()
    assert used[DATA] == f"{new[NEXT_DATA]},{old['SHOP_DATA_KEYS']}"
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
    one_each = {name: used[name].split(",")[0] for name in (SESSION, DATA)}
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
    platform, first = mounted.platform, mounted.platform.read_variables()
    platform.set_variables({**first, SESSION: "another"})
    refused = mounted.rotate("session")
    platform.set_variables(first)
    assert refused["ending"] == "Refused"
    assert "reports another secrets.session at /health/detailed" in refused["message"]
    assert records.effects(refused["run"]) == []
