"""What metrics say of a report: standard names, and no series that a client could make."""

import pytest

from drainkit import Outcome, telemetry
from drainkit.telemetry import outcome_attributes, request_attributes
from tests.reports import REPORT, changed


def test_a_request_is_told_in_the_words_of_the_semantic_conventions():
    expected = {
        "http.request.method": "POST",
        "http.response.status_code": 413,
        "network.protocol.version": "1.1",
    }
    assert expected == request_attributes(REPORT)


@pytest.mark.parametrize("method", ["post", "PROPFIND", "", "X" * 10_000, "_OTHER"])
def test_a_method_that_is_not_known_is_other(method):
    """Methods are case-sensitive (RFC 9110 section 9.1)."""
    assert "_OTHER" == request_attributes(changed(method=method))["http.request.method"]


def test_the_known_methods_can_be_replaced():
    got = [
        request_attributes(changed(method=method), {"PROPFIND"})["http.request.method"]
        for method in ("PROPFIND", "POST")
    ]

    assert ["PROPFIND", "_OTHER"] == got


@pytest.mark.parametrize(
    ("protocol", "version"),
    [
        ("HTTP/1.0", "1.0"),
        ("HTTP/1.1", "1.1"),
        ("HTTP/2", "2"),
        ("HTTP/2.0", "2"),
        ("HTTP/3", "3"),
        ("HTTP/3.0", "3"),
        ("HTTP/1.7", None),
        ("", None),
    ],
)
def test_a_version_that_does_not_exist_is_left_out(protocol, version):
    got = request_attributes(changed(protocol=protocol))

    assert version == got.get("network.protocol.version")


def test_a_status_that_was_not_seen_is_left_out():
    assert "http.response.status_code" not in request_attributes(changed(status=None))


@pytest.mark.parametrize("outcome", Outcome)
def test_an_error_is_told_only_where_the_answer_may_be_lost(outcome):
    fine = {Outcome.COMPLETE, Outcome.DECLINED, Outcome.DISCONNECTED, Outcome.EXPECT_PENDING}
    expected = {"drainkit.drain.outcome": outcome.label}
    if outcome not in fine:
        expected["error.type"] = outcome.label

    assert expected == outcome_attributes(changed(outcome=outcome))


def test_no_attribute_comes_from_where_a_client_may_write_what_it_likes():
    nasty = changed(path="/secret", detail="secret", method="SECRET", protocol="HTTP/secret")
    told = {**outcome_attributes(nasty), **request_attributes(nasty)}

    assert "secret" not in repr(told).lower()


def test_the_names_are_all_names_that_may_come():
    told = [outcome_attributes(changed(outcome=outcome)) for outcome in Outcome]

    assert set(telemetry.OUTCOME_NAMES) == {name for each in told for name in each}
    assert set(telemetry.REQUEST_NAMES) == set(request_attributes(REPORT))


@pytest.mark.parametrize("instrument", [telemetry.DURATION, telemetry.SIZE])
def test_the_buckets_go_up(instrument):
    assert sorted(set(instrument.boundaries)) == list(instrument.boundaries) != []


def test_prometheus_has_underscores_for_dots():
    assert "http_request_method" == telemetry.prometheus_name("http.request.method")
