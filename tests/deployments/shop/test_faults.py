"""Each bad release misbehaves as its description says, and owns up to it."""

import statistics

from tests.deployments.shop.conftest import RunRelease
from tests.deployments.shop.processes import DEMO_PASSWORD, Shop


def test_the_first_two_releases_are_good_and_differ_visibly(run_release: RunRelease) -> None:
    for version, fields in (("v1.0.0", {"name", "cents"}), ("v1.1.0", {"name", "cents", "price"})):
        with run_release(version) as shop:
            answers = [shop.client.get("/offers") for _ in range(10)]
            assert {answer.status_code for answer in answers} == {200}
            assert set(answers[0].json()["offers"][0]) == fields
            assert not [answer for answer in answers if "X-Injected-Fault" in answer.headers]


def test_errors_fail_a_fifth_of_the_offers(run_release: RunRelease) -> None:
    with run_release("v1.3.0") as shop:
        answers = [shop.client.get("/offers") for _ in range(20)]
        failed = [answer for answer in answers if answer.status_code == 500]
        assert len(failed) == 4
        assert {answer.headers.get("X-Injected-Fault") for answer in failed} == {"v1.3.0"}
        assert sum("X-Injected-Fault" in answer.headers for answer in answers) == 4
        assert shop.client.get("/health").status_code == 200
        assert list_tasks(shop) == (200, None)
        counted = 'http_requests_total{method="GET",route="/offers",status="500"} 4.0'
        assert counted in shop.client.get("/metrics").text


def test_slow_takes_twice_as_long(run_release: RunRelease, shop: Shop) -> None:
    with run_release("v1.4.0") as slow:
        ratio = median_milliseconds(slow) / median_milliseconds(shop)
        assert 1.5 < ratio < 2.5
        assert slow.client.get("/offers").headers["X-Injected-Fault"] == "v1.4.0"
        assert list_tasks(slow) == (200, "v1.4.0")
        assert "X-Injected-Fault" not in slow.client.get("/health").headers


def test_unhealthy_never_becomes_healthy(run_release: RunRelease) -> None:
    with run_release("v1.5.0") as shop:
        for _ in range(3):
            health = shop.client.get("/health")
            assert (health.status_code, health.headers["X-Injected-Fault"]) == (503, "v1.5.0")
        assert shop.client.get("/offers").status_code == 200


def test_broken_cannot_list_tasks(run_release: RunRelease) -> None:
    with run_release("v1.6.0") as shop:
        assert list_tasks(shop) == (500, "v1.6.0")
        assert shop.client.get("/health").status_code == 200
        assert shop.client.get("/offers").status_code == 200


def list_tasks(shop: Shop) -> tuple[int, str | None]:
    """The status, and the mark of a fault."""
    token = shop.client.post("/login", json={"name": "demo", "password": DEMO_PASSWORD}).json()["token"]
    answer = shop.client.get("/tasks", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.headers.get("X-Injected-Fault")


def median_milliseconds(shop: Shop) -> float:
    return statistics.median(shop.client.get("/offers").elapsed.total_seconds() * 1000 for _ in range(9))
