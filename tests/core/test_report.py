"""Who is told of a drain, and that telling never costs a client its answer."""

import dataclasses
import logging
import threading
import unittest.mock

import pytest

from drainkit import Outcome, answered, is_heard, publish
from drainkit import _report as report_module
from tests.reports import REPORT, changed

INCOMPLETE = [outcome for outcome in Outcome if outcome is not Outcome.COMPLETE]


@pytest.fixture(autouse=True)
def new_throttle(monkeypatch):
    """No test finds its warning held back by the one before."""
    monkeypatch.setattr(report_module, "_throttle", report_module._Throttle())


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, logger="drainkit")
    return caplog


@pytest.mark.parametrize("outcome", Outcome)
def test_a_complete_drain_is_debug_and_every_other_a_warning(log, outcome):
    publish(changed(outcome=outcome), None, 0.0)

    level = logging.DEBUG if outcome is Outcome.COMPLETE else logging.WARNING
    assert [("drainkit", level)] == [(each.name, each.levelno) for each in log.records]


def test_the_line_says_what_happened(log):
    publish(REPORT, None, 0.0)

    discarded = "3000000 bytes discarded in 5.12 s, status 413, gunicorn"
    assert [f"drain of POST /upload ended: idle ({discarded})"] == log.messages


def test_the_line_ends_with_the_detail(log):
    publish(changed(detail="the reason"), None, 0.0)

    assert log.messages[0].endswith(" gunicorn): the reason")


def test_the_record_carries_every_field_and_how_many_were_held_back(log):
    publish(REPORT, None, 0.0)

    fields = {**dataclasses.asdict(REPORT), "outcome": "idle", "held_back": 0}
    expected = {f"drainkit_{name}": value for name, value in fields.items()}
    assert expected == {key: getattr(log.records[0], key) for key in expected}


def test_the_record_carries_nothing_else(log):
    """A bare "status" is a severity for some log systems, and "path" a file for others."""
    publish(REPORT, None, 0.0)
    plain = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    added = set(vars(log.records[0])) - plain

    assert [] == [name for name in added if not name.startswith("drainkit_")]


@pytest.mark.parametrize("outcome", Outcome)
def test_a_field_spells_an_outcome_as_metrics_do(log, outcome):
    publish(changed(outcome=outcome), None, 0.0)

    assert outcome.label == log.records[0].drainkit_outcome
    assert outcome.label.replace("_", " ") == outcome.value


def test_a_report_says_each_thing_in_a_type_that_json_knows(log):
    """Log shippers serialize extra fields; an enum would break them."""
    publish(REPORT, None, 0.0)

    assert str is type(log.records[0].drainkit_outcome)


NASTY = ["\n", "\r\n", "\x1b[2J", "\x85", "\u2028", "\udc80", "\x00"]


@pytest.mark.parametrize(
    ("field", "nasty"),
    [*(("path", nasty) for nasty in NASTY), ("method", "\n"), ("detail", "\n")],
    ids=ascii,
)
def test_no_text_of_a_client_can_forge_a_line_or_move_the_cursor(log, field, nasty):
    """The detail may be a server's error text, which quotes what the client sent."""
    publish(changed(**{field: f"a{nasty}WARNING forged"}), None, 0.0)

    (message,) = log.messages
    assert message.isprintable()
    assert message.isascii()


def test_nothing_is_printed_when_the_site_has_no_logging():
    """Without a handler, logging would print warnings on stderr."""
    handlers = logging.getLogger("drainkit").handlers

    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


# --- the throttle ---------------------------------------------------------------------------------


def held_back_in(log):
    return [record.drainkit_held_back for record in log.records]


def test_one_warning_a_second_tells_how_many_were_held_back(log):
    for now in (10.0, 10.1, 10.5, 10.999, 11.0, 11.5, 12.0):
        publish(REPORT, None, now)

    assert [0, 3, 1] == held_back_in(log)
    assert log.messages[1].endswith(" [3 more of this kind held back]")
    assert "held back" not in log.messages[0]


def test_each_outcome_has_its_own_second(log):
    for outcome in INCOMPLETE:
        publish(changed(outcome=outcome), None, 0.0)
        publish(changed(outcome=outcome), None, 0.5)

    assert [each.label for each in INCOMPLETE] == [each.drainkit_outcome for each in log.records]


def test_a_count_is_told_once(log):
    for now in (0.0, 0.5, 2.0, 4.0):
        publish(REPORT, None, now)

    assert [0, 1, 0] == held_back_in(log)


def test_complete_drains_are_never_held_back(log):
    for _ in range(5):
        publish(changed(outcome=Outcome.COMPLETE), None, 0.0)

    assert [0] * 5 == held_back_in(log)


def test_a_clock_that_goes_backwards_silences_nothing(log):
    publish(REPORT, None, 1_000_000.0)
    publish(REPORT, None, 5.0)

    assert 2 == len(log.records)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_somebody_hears_of_a_complete_drain_if_publishing_it_reaches_anybody(caplog, level):
    caplog.set_level(level, logger="drainkit")
    told = []
    for on_report in (None, told.append):
        caplog.clear()
        told.clear()
        publish(changed(outcome=Outcome.COMPLETE), on_report, 0.0)

        assert is_heard(on_report) is bool(told or caplog.records)


def test_threads_hold_back_all_but_one(log):
    count = 40
    barrier = threading.Barrier(8)

    def work():
        barrier.wait(20)
        for _ in range(count // 8):
            publish(REPORT, None, 0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    publish(REPORT, None, 1.0)

    assert [0, count - 1] == held_back_in(log)


# --- on_report ------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome)
def test_on_report_is_given_every_report_also_those_held_back(outcome):
    given = []
    reports = [changed(outcome=outcome, bytes_discarded=number) for number in range(3)]
    for report in reports:
        publish(report, given.append, 0.0)

    assert reports == given


def test_what_on_report_raises_is_logged_and_swallowed(log):
    def on_report(report):
        raise LookupError("my fault")

    publish(REPORT, on_report, 0.0)

    first, second = log.records
    assert (logging.ERROR, LookupError) == (first.levelno, first.exc_info[0])
    assert "on_report" in first.getMessage()
    assert (logging.WARNING, "idle") == (second.levelno, second.drainkit_outcome)


def test_what_ends_the_process_is_not_swallowed():
    def on_report(report):
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        publish(REPORT, on_report, 0.0)


class Broken(logging.Handler):
    """A handler of a site whose log server is gone."""

    def emit(self, record):
        raise OSError("no space left on device")


@pytest.mark.parametrize("outcome", [Outcome.COMPLETE, Outcome.IDLE])
@pytest.mark.parametrize("raises", [False, True], ids=["quiet on_report", "raising on_report"])
def test_what_a_log_handler_raises_is_swallowed(log, outcome, raises):
    """publish() is called in close() and in the event loop: the response would be lost."""

    def on_report(report):
        if raises:
            raise LookupError

    # The root's, so that it is called behind the one that writes down.
    logger = logging.getLogger()
    handler = Broken()
    logger.addHandler(handler)
    try:
        publish(changed(outcome=outcome), on_report, 0.0)
    finally:
        logger.removeHandler(handler)

    assert [outcome.label] == [
        record.drainkit_outcome for record in log.records if hasattr(record, "drainkit_outcome")
    ]


# --- reporters ------------------------------------------------------------------------------------


class Keeps:
    """A reporter that keeps something of each request."""

    def __init__(self, error=None):
        self.error = error
        self.reports = []

    def answered(self):
        if self.error is not None:
            raise self.error
        return lambda report: self.reports.append(("of the request", report))

    def __call__(self, report):
        self.reports.append(("of none", report))


def test_a_reporter_is_told_by_what_it_returned_for_the_request():
    reporter = Keeps()
    publish(REPORT, answered(reporter), 0.0)

    assert [("of the request", REPORT)] == reporter.reports


def test_a_reporter_that_raises_is_told_itself(log):
    reporter = Keeps(LookupError("my fault"))
    publish(REPORT, answered(reporter), 0.0)

    assert [("of none", REPORT)] == reporter.reports
    assert (logging.ERROR, LookupError) == (log.records[0].levelno, log.records[0].exc_info[0])


def test_what_is_no_reporter_is_told_itself():
    """A mock has every attribute that it is asked for."""
    mock = unittest.mock.Mock()

    assert [None, print, mock] == [answered(given) for given in (None, print, mock)]
