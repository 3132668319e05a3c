"""`drainkit_prometheus.DrainMetrics`, as a scrape over HTTP shows it."""

import os
import subprocess
import sys
import threading
import urllib.request
import wsgiref.simple_server

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus-client")

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app
from prometheus_client.parser import text_string_to_metric_families

from drainkit import Configuration, DrainPolicy, Outcome
from drainkit_prometheus import DrainMetrics
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import answering, serve
from tests.reports import REPORT, changed


@pytest.fixture
def registry():
    return CollectorRegistry()


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


def scraped(registry):
    """Return the samples that a scrape over HTTP has, by name and labels."""
    server = wsgiref.simple_server.make_server(
        "127.0.0.1", 0, make_wsgi_app(registry), handler_class=Quiet
    )
    serving = threading.Thread(target=server.handle_request)
    serving.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as response:
            text = response.read().decode()
    finally:
        serving.join(20)
        server.server_close()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(samples, name, **labels):
    """Return the value of the one sample with these labels."""
    (found,) = (
        each for (got, with_), each in samples.items()
        if got == name and labels.items() <= dict(with_).items()
    )  # fmt: skip
    return found


def test_a_scrape_shows_drains_by_outcome_and_request(registry):
    on_report = DrainMetrics(registry)
    for report in (REPORT, REPORT, changed(outcome=Outcome.COMPLETE, status=404)):
        on_report(report)
    samples = scraped(registry)
    labels = {
        "drainkit_drain_outcome": "idle",
        "error_type": "idle",
        "http_request_method": "POST",
        "http_response_status_code": "413",
        "network_protocol_version": "1.1",
    }

    assert 2 == samples["drainkit_drains_total", tuple(sorted(labels.items()))]
    assert 1 == value(samples, "drainkit_drains_total", http_response_status_code="404")


def test_a_scrape_shows_seconds_and_bytes(registry):
    DrainMetrics(registry)(REPORT)
    samples = scraped(registry)
    seconds, size = "drainkit_drain_duration_seconds", "drainkit_drain_size_bytes"

    assert (1, 5.125) == (value(samples, f"{seconds}_count"), value(samples, f"{seconds}_sum"))
    assert (1, 3e6) == (value(samples, f"{size}_count"), value(samples, f"{size}_sum"))
    assert 0 == value(samples, f"{seconds}_bucket", le="5.0")
    assert 1 == value(samples, f"{seconds}_bucket", le="10.0")
    assert 0 == value(samples, f"{size}_bucket", le="1.048576e+06")
    assert 1 == value(samples, f"{size}_bucket", le="4.194304e+06")


def test_no_client_can_make_a_series(registry):
    """Whatever 300 clients write into their request lines, it is one series."""
    on_report = DrainMetrics(registry)
    for number in range(300):
        on_report(changed(method=f"M{number}", path=f"/{number}", protocol=f"HTTP/1.{number + 2}"))
    samples = scraped(registry)

    assert 300 == value(samples, "drainkit_drains_total", http_request_method="_OTHER")


def test_what_is_not_known_is_an_empty_label(registry):
    DrainMetrics(registry)(changed(outcome=Outcome.COMPLETE, status=None, protocol="HTTP/0.9"))
    samples = scraped(registry)
    empty = {"error_type": "", "http_response_status_code": "", "network_protocol_version": ""}

    assert 1 == value(samples, "drainkit_drains_total", **empty)


def test_known_methods_can_be_replaced(registry):
    DrainMetrics(registry, known_methods=["PROPFIND"])(changed(method="PROPFIND"))

    assert 1 == value(scraped(registry), "drainkit_drains_total", http_request_method="PROPFIND")


def test_two_for_one_registry_count_together(registry):
    """A process may serve two applications, and a registry refuses a second metric of a name."""
    for on_report in (DrainMetrics(registry), DrainMetrics(registry)):
        on_report(REPORT)

    assert 2 == value(scraped(registry), "drainkit_drains_total")


def test_two_for_one_registry_are_equal(registry):
    """A second `init_app` with the same arguments is allowed where it changes nothing."""
    first = Configuration(DrainPolicy(), DrainMetrics(registry))
    first.refuse_change(Configuration(DrainPolicy(), DrainMetrics(registry)), "nothing")

    assert hash(DrainMetrics(registry)) == hash(DrainMetrics(registry))
    assert DrainMetrics(registry) != DrainMetrics(CollectorRegistry())
    assert DrainMetrics(registry) != DrainMetrics(registry, known_methods=["POST"])


def test_another_metric_of_the_name_is_an_error(registry):
    Counter("drainkit_drains", "Not ours.", registry=registry)

    with pytest.raises(ValueError, match="drainkit_drains"):
        DrainMetrics(registry)


def test_the_default_is_the_default_registry_of_the_library():
    DrainMetrics()(changed(method="TRACE", status=599))
    samples = scraped(prometheus_client.REGISTRY)

    assert 1 == value(samples, "drainkit_drains_total", http_response_status_code="599")


def test_a_middleware_records_a_drain(registry):
    on_report = DrainMetrics(registry)
    got = serve(
        answering(b"too large"),
        b"x" * 100_000,
        wrap=lambda app, policy, **_: DrainMiddleware(app, policy, on_report=on_report),
    )
    samples = scraped(registry)

    assert got.raised is None
    assert 100_000 == value(samples, "drainkit_drain_size_bytes_sum")
    assert 1 == value(samples, "drainkit_drains_total", http_response_status_code="413")


WORKER = """
import dataclasses
from drainkit import DrainReport, Outcome
from drainkit_prometheus import DrainMetrics
report = DrainReport(
    outcome=Outcome.COMPLETE, bytes_discarded=1000, bytes_read=0, declared_bytes=None, seconds=0.5,
    protocol="HTTP/1.1", server="gunicorn", method="POST", path="/", status=413,
)
on_report = DrainMetrics()
for _ in range(3):
    on_report(report)
"""
COLLECT = """
import sys
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
sys.stdout.buffer.write(generate_latest(registry))
"""


def test_in_multiprocess_mode_a_scrape_adds_up_all_workers(tmp_path):
    """As behind gunicorn: each process writes files, and whichever is scraped reads all of them."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(program):
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    for _ in range(2):
        run(WORKER)
    families = text_string_to_metric_families(run(COLLECT))
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }

    assert 6 == value(samples, "drainkit_drains_total")
    assert 6000 == value(samples, "drainkit_drain_size_bytes_sum")
    assert 3.0 == value(samples, "drainkit_drain_duration_seconds_sum")
    assert 6 == value(samples, "drainkit_drain_duration_seconds_bucket", le="0.5")


@pytest.mark.parametrize("wrong", ["registry", True, DrainMetrics])
def test_what_is_no_registry_is_refused(wrong):
    with pytest.raises(TypeError, match=r"registry must be a prometheus_client\.Coll.*; got "):
        DrainMetrics(wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("POST", "known_methods must be methods in a list, such as .*; got 'POST'"),
        (b"POST", "known_methods must be methods in a list"),
        (True, "known_methods must be methods in a list, .*; got True"),
        (["GET", 1], "known_methods must hold texts, such as 'GET'; got 1"),
    ],
)
def test_what_are_no_methods_is_refused(registry, wrong, told):
    with pytest.raises(TypeError, match=told):
        DrainMetrics(registry, known_methods=wrong)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_where_a_name_is_taken_nothing_stays_behind(registry, number):
    """The metrics before it were left in the registry, so that no second try could succeed."""
    name = ["drainkit_drains", "drainkit_drain_duration_seconds", "drainkit_drain_size_bytes"]
    other = Gauge(name[number], "of somebody else", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        DrainMetrics(registry)

    assert [name[number]] == [family.name for family in registry.collect()]
    registry.unregister(other)
    DrainMetrics(registry)(REPORT)
