"""Against a real Prometheus that scrapes real services."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from blocks.errors import Unreachable
from blocks.metrics.prometheus_server import PrometheusServer
from blocks.platforms.interface import Release
from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import free_port, process
from tests.tasks.release_service import ReleaseService
from tests.tasks.small_service import SmallService, status

SCRAPED_EVERY = "100ms"
LABEL = "release"
SERVER = PrometheusServer(url="http://127.0.0.1:1", release_label=LABEL, release_is="id")

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, list[ReleaseService]]]:
    """Two processes of one release, and one of another."""
    with ReleaseService("old") as one, ReleaseService("old") as other, ReleaseService("new") as new:
        yield {"old": [one, other], "new": [new]}


@pytest.fixture(scope="module")
def server(
    services: dict[str, list[ReleaseService]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusServer]:
    if not shutil.which("prometheus"):
        pytest.skip("no prometheus on this machine")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    _scrape(folder, services)
    command = [
        *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    url = f"http://127.0.0.1:{port}"
    with process(command, folder, {}):
        eventually(lambda: _is_ready(url))
        server = SERVER.model_copy(update={"url": url})
        eventually(lambda: _is_scraped(server, services))
        yield server


def _scrape(folder: Path, services: dict[str, list[ReleaseService]]) -> None:
    targets = [
        {"targets": [str(one.release.url).removeprefix("http://") for one in of], "labels": {LABEL: name}}
        for name, of in services.items()
    ]
    config = {
        "global": {"scrape_interval": SCRAPED_EVERY, "scrape_timeout": SCRAPED_EVERY},
        "scrape_configs": [{"job_name": "shop", "static_configs": targets}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def ask(server: PrometheusServer, query: str) -> list[Any]:
    answer = httpx.get(f"{server.url}/api/v1/query", params={"query": query}, timeout=2, trust_env=False).json()
    return list(answer["data"]["result"])


def _is_scraped(server: PrometheusServer, services: dict[str, list[ReleaseService]]) -> bool:
    return len(ask(server, "up == 1")) == sum(map(len, services.values()))


def visit(service: ReleaseService, path: str, errors: bool = False) -> None:
    service.error_rate = 1.0 if errors else 0.0
    service.visit(path)


def test_a_release_is_the_sum_of_its_processes_and_nobody_else(
    server: PrometheusServer, services: dict[str, list[ReleaseService]]
) -> None:
    (one, other), (new,) = services["old"], services["new"]
    one.slowness = lambda chance: 0.2
    for path in ("/", "/orders", "/health", "/metrics"):
        visit(one, path)
        visit(other, path, errors=True)

    eventually(lambda: ask(server, server.requests))
    eventually(lambda: server.read_sample(one.release).requests == 4)
    sample = server.read_sample(other.release)
    assert (sample.requests, sample.errors) == (4, 2)
    assert (sample.slower[0.1], sample.slower[0.25]) == (2, 0)

    sample = server.read_sample(new.release)
    assert (sample.requests, sample.errors, sample.slower) == (0, 0, {}), "it runs, and nobody came yet"
    visit(new, "/")
    eventually(lambda: server.read_sample(new.release).requests == 1)


def test_no_data_is_not_zero(server: PrometheusServer, services: dict[str, list[ReleaseService]]) -> None:
    release = services["old"][0].release
    visit(services["old"][0], "/")
    eventually(lambda: server.read_sample(release).requests > 0)
    unknown = release.model_copy(update={"id": 'never "scraped" \\ \n'})
    cases: dict[str, tuple[PrometheusServer, Release]] = {
        "scrapes nothing whose label": (server, unknown),
        "no series 'hits_total'": (server.model_copy(update={"requests": "hits_total"}), release),
        "no label 'code'": (server.model_copy(update={"status_label": "code"}), release),
        "no series 'durations_bucket'": (server.model_copy(update={"latency": "durations"}), release),
        "cannot be reached": (server.model_copy(update={"url": "http://127.0.0.1:1"}), release),
    }
    for told, (asked, of) in cases.items():
        with pytest.raises(Unreachable, match=told) as raised:
            asked.read_sample(of)
        assert raised.value.hint, told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "success", "warnings": ["store away"], "data": {"resultType": "vector", "result": []}}, "in part"),
        ({"status": "success", "data": {"resultType": "vector", "result": "none"}}, "is not the Prometheus server"),
        (
            {"data": {"result": [{"metric": {"status": "200"}, "value": [1, "NaN"]}]}},
            "nan, which no counter can be",
        ),
    ],
    ids=["partial", "another shape", "no number"],
)
def test_an_answer_that_says_nothing_is_not_zero(answer: dict[str, object], told: str) -> None:
    with SmallService({"GET /api/v1/query": status(200, answer)}) as service, ReleaseService("old") as release:
        asked = SERVER.model_copy(update={"url": service.url})
        with pytest.raises(Unreachable, match=told):
            asked.read_sample(release.release)


def test_a_question_that_is_refused_quotes_the_server() -> None:
    refusal = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}
    with SmallService({"GET /api/v1/query": status(400, refusal)}) as service, ReleaseService("old") as release:
        asked = SERVER.model_copy(update={"url": service.url})
        with pytest.raises(Unreachable, match="parse error: unexpected end"):
            asked.read_sample(release.release)
