"""What the endpoints of a good release answer."""

import hashlib
import hmac
import time
from collections.abc import Callable

import pytest
from redis import Redis

from blocks.secrets.held import told
from tests.deployments.shop.conftest import Checkout
from tests.deployments.shop.processes import (
    DEMO_PASSWORD,
    SESSION_SECRET,
    WEBHOOK_SECRET,
    Postgres,
    Shop,
    running_shop,
)

EVENT = b'{"type": "payment.succeeded"}'


@pytest.fixture(scope="module")
def signed_in(shop: Shop) -> dict[str, str]:
    answer = shop.client.post("/login", json={"name": "demo", "password": DEMO_PASSWORD})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_health_and_version(shop: Shop) -> None:
    assert shop.client.get("/health").json() == {"status": "ok", "version": "v2.0.0"}
    assert shop.client.get("/version").json() == {"version": "v2.0.0"}


def test_detailed_health_names_each_component(shop: Shop) -> None:
    answer = shop.client.get("/health/detailed")
    components = answer.json()["components"]
    assert answer.status_code == 200
    assert {name: component["status"] for name, component in components.items()} == {
        "database": "ok",
        "redis": "ok",
    }
    assert all(0 < component["milliseconds"] < 2000 for component in components.values())


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/offers", 200), ("/tasks", 401), ("/nowhere", 404)])
def test_every_answer_carries_the_version_and_no_fault(shop: Shop, path: str, status: int) -> None:
    answer = shop.client.get(path)
    assert answer.status_code == status
    assert answer.headers["X-Version"] == "v2.0.0"
    assert "X-Injected-Fault" not in answer.headers


def test_offers_are_cached(shop: Shop, redis_url: str) -> None:
    with Redis.from_url(redis_url) as cache:
        cache.delete("shop:offers")
        first = shop.client.get("/offers").json()
        assert [offer["name"] for offer in first["offers"]] == ["Tea", "Teapot", "Whistle"]
        cache.set("shop:offers", '[{"name": "Cup", "cents": 900}]', ex=5)
        assert [offer["name"] for offer in shop.client.get("/offers").json()["offers"]] == ["Cup"]
        cache.delete("shop:offers")


@pytest.mark.parametrize(
    ("name", "password"),
    [("demo", "wrong"), ("nobody", DEMO_PASSWORD), ("de\0mo", DEMO_PASSWORD)],
    ids=["another's password", "nobody", "NUL in the name"],
)
def test_login_refuses_wrong_name_or_password(shop: Shop, name: str, password: str) -> None:
    assert shop.client.post("/login", json={"name": name, "password": password}).status_code == 401


def test_a_task_is_made_read_changed_listed_and_deleted(shop: Shop, signed_in: dict[str, str]) -> None:
    made = shop.client.post("/tasks", json={"title": "Pay", "due_on": "2026-12-31"}, headers=signed_in)
    task = made.json()
    path = f"/tasks/{task['id']}"
    assert made.status_code == 201
    assert task == {"id": task["id"], "title": "Pay", "done": False, "due_on": "2026-12-31"}
    assert shop.client.get(path, headers=signed_in).json() == task

    changed = task | {"done": True}
    assert shop.client.patch(path, json={"done": True}, headers=signed_in).json() == changed
    assert changed in shop.client.get("/tasks", headers=signed_in).json()["tasks"]

    assert shop.client.delete(path, headers=signed_in).status_code == 204
    assert shop.client.get(path, headers=signed_in).status_code == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"title": ""}', b'{"title": "\\u0000"}', b'{"title": "x", "due_on": "soon"}'],
)
def test_a_bad_task_is_refused(shop: Shop, signed_in: dict[str, str], body: bytes) -> None:
    assert shop.client.post("/tasks", content=body, headers=signed_in).status_code == 400


def test_a_changed_token_is_refused(shop: Shop, signed_in: dict[str, str]) -> None:
    payload, _, signature = signed_in["Authorization"].partition(".")
    forged = signature.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    for header in ("", "Bearer", "Bearer .", payload, f"{payload}.{forged}"):
        assert shop.client.get("/tasks", headers={"Authorization": header}).status_code == 401


def test_the_first_session_secret_signs_and_all_verify(
    checkout: Checkout, postgres: Postgres, redis_url: str, shop: Shop, signed_in: dict[str, str]
) -> None:
    database = postgres.url(postgres.make_database())
    with running_shop(checkout("v1.0.0"), database, redis_url, SHOP_SESSION_SECRET=f"new,{SESSION_SECRET}") as rotated:
        answer = rotated.client.post("/login", json={"name": "demo", "password": DEMO_PASSWORD})
        token = {"Authorization": f"Bearer {answer.json()['token']}"}
        for accepted in (token, signed_in):
            assert rotated.client.get("/tasks", headers=accepted).status_code == 200
        assert shop.client.get("/tasks", headers=token).status_code == 401
        reported = rotated.client.get("/health/detailed").json()["secrets"]
    assert reported["session"] == [told("new"), told(SESSION_SECRET)]
    assert reported["webhook"] == [told(WEBHOOK_SECRET)]


def test_an_upload_comes_back_as_it_was(shop: Shop) -> None:
    body = bytes(range(256)) * 3906  # Just under the limit.
    saved = shop.client.post("/uploads", content=body)
    assert saved.status_code == 201
    assert saved.json()["sha256"] == hashlib.sha256(body).hexdigest()
    assert shop.client.get(f"/uploads/{saved.json()['id']}").content == body


def test_an_upload_is_encrypted_and_one_that_is_read_with_the_first_key_from_then_on(
    checkout: Checkout, postgres: Postgres, redis_url: str
) -> None:
    folder, database = checkout("v1.0.0"), postgres.make_database()
    for keys, before, after in (
        ("old", {}, {"old": 1}),
        ("new,old", {"old": 1}, {"new": 1}),
        ("new", {"new": 1}, {"new": 1}),
    ):
        with running_shop(folder, postgres.url(database), redis_url, SHOP_DATA_KEYS=keys) as shop:
            assert shop.client.get("/encryption").json()["uploads"] == {
                told(key): count for key, count in before.items()
            }
            if not before:
                upload = shop.client.post("/uploads", content=b"a secret").json()["id"]
            assert shop.client.get(f"/uploads/{upload}").content == b"a secret"
            assert shop.client.get("/encryption").json()["uploads"] == {
                told(key): count for key, count in after.items()
            }
    ((stored,),) = postgres.execute("select body from uploads", database)
    assert isinstance(stored, bytes)
    assert b"secret" not in stored


def test_an_upload_above_the_limit_is_refused(shop: Shop) -> None:
    assert shop.client.post("/uploads", content=bytes(1_000_001)).status_code == 413


def sign(body: bytes, secret: str = WEBHOOK_SECRET, age: int = 0) -> str:
    at = str(int(time.time()) - age)
    return f"t={at},v1={hmac.new(secret.encode(), at.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def test_a_signed_payment_event_is_taken(shop: Shop) -> None:
    for _ in range(2):
        answer = shop.client.post("/webhooks/payment", content=EVENT, headers={"X-Signature": sign(EVENT)})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})


@pytest.mark.parametrize(
    "signature",
    [
        lambda: "",
        lambda: "t=now,v1=00",
        lambda: sign(EVENT, secret="another"),
        lambda: sign(EVENT + b" "),
        lambda: sign(EVENT, age=301),
        lambda: sign(EVENT, age=-310),
    ],
    ids=["none", "nonsense", "other secret", "other body", "too old", "from the future"],
)
def test_a_wrong_signature_is_refused(shop: Shop, signature: Callable[[], str]) -> None:
    answer = shop.client.post("/webhooks/payment", content=EVENT, headers={"X-Signature": signature()})
    assert (answer.status_code, answer.json()) == (400, {"error": "wrong signature"})


def test_metrics_count_visitors_and_not_health_checks(shop: Shop) -> None:
    offers = 'http_requests_total{method="GET",route="/offers",status="200"}'
    before = read_metrics(shop)
    for path in ("/offers", "/health", "/health/detailed", "/metrics"):
        shop.client.get(path)
    after = read_metrics(shop)
    assert after[offers] == before[offers] + 1
    assert not [name for name in after if "/health" in name or "/metrics" in name]


def test_metrics_time_the_routes(shop: Shop) -> None:
    shop.client.get("/offers")
    bucket = 'http_request_duration_seconds_bucket{{le="{}",route="/offers"}}'
    metrics = read_metrics(shop)
    assert metrics[bucket.format("0.03")] == 0
    assert metrics[bucket.format("+Inf")] >= metrics[bucket.format("5.0")] > 0


def test_metrics_have_no_label_that_a_visitor_made_up(shop: Shop) -> None:
    shop.client.get("/made-up")
    shop.client.request("MADEUP", "/offers")
    metrics = read_metrics(shop)
    assert 'http_requests_total{method="other",route="unmatched",status="404"}' in metrics
    assert 'http_requests_total{method="other",route="/offers",status="405"}' in metrics
    assert not [name for name in metrics if "made-up" in name or "MADEUP" in name]


def read_metrics(shop: Shop) -> dict[str, float]:
    lines = shop.client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
