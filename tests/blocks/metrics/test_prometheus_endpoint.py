"""Against a real HTTP server that answers well, badly, slowly or not at all."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from blocks.errors import Unreachable
from blocks.metrics.prometheus_endpoint import MOST_BYTES, PrometheusEndpoint
from tests.tasks.release_service import Handler, ReleaseService

HISTOGRAM = """
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.1"} 5
http_request_duration_seconds_bucket{le="+Inf"} 8
"""


@pytest.fixture
def service() -> Iterator[ReleaseService]:
    with ReleaseService() as service:
        yield service


def shows(service: ReleaseService, text: str, status: int = 200) -> None:
    service.special["/metrics"] = lambda handler: handler.reply(status, text.encode())


def test_sums_over_all_labels(service: ReleaseService) -> None:
    service.slowness = lambda chance: 0.2
    for path in ("/", "/orders"):
        service.error_rate = 0.0
        service.visit(path)
        service.error_rate = 1.0
        service.visit(path)
    sample = PrometheusEndpoint().read_sample(service.release)
    assert (sample.requests, sample.errors) == (4, 2)
    assert (sample.slower[0.1], sample.slower[0.25]) == (4, 0)
    assert sample.at == pytest.approx(time.monotonic(), abs=5)


def test_only_visitors_count(service: ReleaseService) -> None:
    for path in ("/", "/health", "/metrics"):
        service.visit(path)
    assert PrometheusEndpoint().read_sample(service.release).requests == 1
    assert PrometheusEndpoint(ignored_paths=[]).read_sample(service.release).requests == 3


def test_no_request_served_yet_is_zero(service: ReleaseService) -> None:
    sample = PrometheusEndpoint().read_sample(service.release)
    assert (sample.requests, sample.errors, sample.slower) == (0, 0, {})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no series 'http_requests_total'"),
        ("other_total 1\n", "no series 'http_requests_total'"),
        ('http_requests_total{status="200"} 8\n', "no series 'http_request_duration_seconds_bucket'"),
        ("http_requests_total 8\n" + HISTOGRAM, "no label 'status'"),
        ('http_requests_total{status="200"} NaN\n' + HISTOGRAM, "which no counter can be"),
        ('http_requests_total{status="200"} -1\n' + HISTOGRAM, "which no counter can be"),
        ('http_requests_total{status="200\n', "not metrics"),
        ("http_requests_total{{{\x00", "not metrics"),
        ("<html>It works!</html>", "no series"),
        (HISTOGRAM.replace('"0.1"', '"fast"') + 'http_requests_total{status="200"} 8\n', "is no number"),
    ],
)
def test_no_data_is_not_zero(service: ReleaseService, text: str, complaint: str) -> None:
    shows(service, text)
    with pytest.raises(Unreachable, match=complaint):
        PrometheusEndpoint().read_sample(service.release)


def test_names_and_labels_are_the_services_own(service: ReleaseService) -> None:
    shows(service, 'hits{code="5xx"} 3\nhits{code="2xx"} 5\n')
    sample = PrometheusEndpoint(requests="hits", status_label="code", latency="").read_sample(service.release)
    assert (sample.requests, sample.errors, sample.slower) == (8, 3, {})


def test_an_error_page_is_no_data(service: ReleaseService) -> None:
    shows(service, 'http_requests_total{status="200"} 8\n' + HISTOGRAM, status=503)
    with pytest.raises(Unreachable, match="answers 503"):
        PrometheusEndpoint().read_sample(service.release)


def hang(handler: Handler) -> None:
    handler.rfile.read()


def drip_headers(handler: Handler) -> None:
    drip(handler, b"")


def drip_body(handler: Handler) -> None:
    drip(handler, b"HTTP/1.0 200 OK\r\n\r\n")


def drip(handler: Handler, first: bytes) -> None:
    try:
        handler.wfile.write(first)
        while True:
            handler.wfile.write(b"#")
            time.sleep(0.02)
    except OSError:
        return


@pytest.mark.parametrize("respond", [hang, drip_headers, drip_body])
def test_the_time_limit_holds_for_the_whole_read(service: ReleaseService, respond: Callable[[Handler], None]) -> None:
    service.special["/metrics"] = respond
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"no whole answer within 0\.3 s"):
        PrometheusEndpoint(timeout=0.3).read_sample(service.release)
    assert time.monotonic() - began < 20


def test_a_huge_answer_is_cut_off(service: ReleaseService) -> None:
    cut_off = threading.Event()

    def flood(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        try:
            for _ in range(20 * MOST_BYTES // 65536):
                handler.wfile.write(b"#" * 65536)
        except OSError:
            cut_off.set()

    service.special["/metrics"] = flood
    with pytest.raises(Unreachable, match="more than 5000000 bytes"):
        PrometheusEndpoint(timeout=10).read_sample(service.release)
    assert cut_off.wait(5)


def test_a_large_page_is_read_within_its_time(service: ReleaseService) -> None:
    noise = "".join(f'other_total{{n="{number}"}} 1\n' for number in range(150_000))
    shows(service, noise + 'http_requests_total{status="500"} 8\n' + HISTOGRAM)
    assert PrometheusEndpoint().read_sample(service.release).errors == 8


def test_a_release_that_does_not_answer_is_unreachable(service: ReleaseService) -> None:
    gone = service.release.model_copy(update={"url": "http://127.0.0.1:1"})
    with pytest.raises(Unreachable, match="does not answer"):
        PrometheusEndpoint().read_sample(gone)
    with pytest.raises(Unreachable, match="has no address"):
        PrometheusEndpoint().read_sample(service.release.model_copy(update={"url": None}))
