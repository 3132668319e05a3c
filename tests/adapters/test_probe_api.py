"""The probe as Python has it: no click, no rich; a verdict, never a surprise."""

import json
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from drainkit_clients import FileBody
from drainkit_probe import (
    CLIENTS,
    WAYS,
    BadTargetError,
    Kind,
    Plan,
    Run,
    Target,
    as_data,
    as_html,
    conclude,
    probe,
    schema,
    seen,
    words,
)
from tests.adapters.probed import KIB, MIB, closing, discarding, echo, reading, resetting, serving

SMALL = Plan(ways=(WAYS["keep-alive"],), sizes=(64 * KIB, 8 * MIB), tries=1, timeout_seconds=2)


def test_answers_that_arrive_are_delivered():
    """One call, and everything about it as data and as a page."""
    told = []
    with serving(discarding) as url:
        report = probe(f"{url}/up", SMALL, tell=told.append)

    assert Kind.DELIVERED is report.verdict.kind
    assert told == report.run.attempts
    assert 4 == len(told)
    data = json.loads(json.dumps(as_data(report)))
    assert ("delivered", f"{url}/up") == (data["verdict"]["kind"], data["target"]["url"])
    assert as_html(report).startswith("<!doctype html>")


def test_a_loss_names_the_place_and_the_cure():
    with serving(resetting) as url:
        report = probe(url, SMALL)

    assert Kind.LOST is report.verdict.kind
    assert report.verdict.cures
    assert any(fate.is_loss for _, fate in seen(report.run))


def test_a_target_that_cannot_be_tested_is_a_verdict():
    """A pipeline fails with a sentence, not with a traceback."""
    # Bound, so that nobody else gets the port, and without listen().
    with socket.socket() as taken, serving(closing) as url:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        reports = [probe(url, SMALL), probe(nowhere, SMALL)]

    assert [Kind.NOT_TESTED] * 2 == [report.verdict.kind for report in reports]
    assert ["closed", "connect"] == [report.verdict.reason for report in reports]


def test_a_url_that_cannot_be_used_is_an_error():
    with pytest.raises(BadTargetError, match="must begin with http:// or https://"):
        probe("ftp://example.test/")


def test_a_body_that_cannot_be_read_any_more_is_a_verdict(tmp_path):
    file = tmp_path / "body"
    file.write_bytes(b"x" * 100_000)
    body = FileBody.of(str(file))
    plan = Plan(body=body, sizes=(body.size_bytes,), tries=1, timeout_seconds=2)
    file.write_bytes(b"short")
    with serving(reading) as url:
        report = probe(url, plan)

    assert ("body", 0) == (report.verdict.reason, len(report.run.attempts))
    assert "let nobody write to it meanwhile" in report.verdict.sentence


def test_a_run_a_step_at_a_time_may_be_left_in_the_middle():
    """What was seen until then is judged."""

    def interrupt(attempt):
        raise KeyboardInterrupt

    with serving(discarding) as url:
        run = Run(Target.parse(url), SMALL)
        before = conclude(run, KeyboardInterrupt())
        run.resolve()
        run.look()
        with pytest.raises(KeyboardInterrupt):
            run.upload(interrupt)
    report = conclude(run, KeyboardInterrupt())

    assert (True, Kind.NOT_TESTED) == (before.interrupted, before.verdict.kind)
    assert (True, 1) == (report.interrupted, len(report.run.attempts))
    assert report.verdict.kind in (Kind.DELIVERED, Kind.NOT_EARLY)


def test_reports_carry_the_date():
    """Reports of before and after can be told apart."""
    before = datetime.now(UTC).replace(microsecond=0)
    run = Run(Target.parse("http://a.test/"), SMALL)
    report = conclude(run, KeyboardInterrupt())
    began = datetime.fromisoformat(as_data(report)["began"])

    assert before <= began <= datetime.now(UTC)
    assert timedelta(0) == began.utcoffset()
    assert f'<time datetime="{began.isoformat()}">{began:%Y-%m-%d %H:%M} UTC</time>' in (
        as_html(report)
    )
    assert "date-time" == schema()["properties"]["began"]["format"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "HEAD"}, "method must be one that uploads, such as 'POST'; got 'HEAD'"),
        ({"method": "A B"}, "got 'A B'"),
        ({"clients": ()}, "clients must be one or more of CLIENTS (strict, eager); got ()"),
        ({"ways": ("close",)}, "ways must be one or more of WAYS"),
        ({"sizes": ()}, "sizes must be integers of 1 or more in ascending order; got ()"),
        ({"sizes": (2000, 1000)}, "in ascending order; got (2000, 1000)"),
        ({"sizes": (10,)}, "size_bytes must be an integer of 169 or more; got 10"),
        ({"field": 'a"b'}, "field"),
        ({"body": FileBody("a", 7)}, "sizes must be (7,), the size of the body; got"),
        ({"tries": 0}, "tries must be an integer of 1 or more; got 0"),
        ({"timeout_seconds": float("nan")}, "must be a finite number above 0; got nan"),
        ({"rate_bytes_per_second": 0}, "rate_bytes_per_second must be a finite number above 0"),
        ({"headers": (("Content-Length", "3"),)}, "the header Content-Length is the probe's own: "),
        ({"headers": (("X Y", "3"),)}, "'X Y' is not the name of a header"),
        # Of another type than is meant, as a command line or a file of settings may have it.
        ({"method": None}, "method must be one that uploads, such as 'POST'; got None"),
        ({"clients": "strict"}, "clients must be one or more of CLIENTS (strict, eager); got 'str"),
        ({"ways": 3}, "ways must be one or more of WAYS"),
        ({"sizes": "8M"}, "sizes must be integers of 1 or more in ascending order; got '8M'"),
        ({"sizes": 8000}, "sizes must be integers of 1 or more in ascending order; got 8000"),
        ({"sizes": ("8000",)}, "in ascending order; got ('8000',)"),
        ({"sizes": (0, 1000)}, "in ascending order; got (0, 1000)"),
        ({"tries": "3"}, "tries must be an integer of 1 or more; got '3'"),
        ({"tries": True}, "tries must be an integer of 1 or more; got True"),
        ({"timeout_seconds": "3"}, "timeout_seconds must be a finite number above 0; got '3'"),
        ({"rate_bytes_per_second": "1M"}, "rate_bytes_per_second must be a finite number above 0"),
        ({"headers": {"a": "b"}}, "got a dict; write tuple(headers.items())"),
        ({"headers": ("a: b",)}, "both texts, such as (('X-Api-Version', '2'),); the one that is"),
        ({"headers": (("a", 1),)}, "the one that is not is number 1"),
        ({"body": b"a body"}, "body must be such as drainkit_clients.FileBody.of(path), or None"),
        ({"field": 3}, "field must be the name of a file field; got 3"),
    ],
)
def test_a_plan_that_exists_is_valid(wrong, said):
    """As with a policy: the field, the value and what is allowed, before anything is sent."""
    with pytest.raises(ValueError, match=re.escape(said)):
        Plan(**wrong)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (
            (None,),
            {},
            TypeError,
            "url must be a text such as 'http://127.0.0.1:8000/upload'; got a",
        ),
        ((b"http://a:pass-word@b",), {}, TypeError, "got a bytes"),
        (("http://127.0.0.1:1/", {"tries": 1}), {}, TypeError, "got a dict: write Plan(**plan)"),
        (("http://127.0.0.1:1/",), {"family": 5}, ValueError, "family must be 4, 6 or None; got 5"),
        (("http://127.0.0.1:1/",), {"tell": "me"}, TypeError, "tell must be a function"),
        (("http://127.0.0.1:1/",), {"earlier": {}}, TypeError, "write Earlier.of(data)"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused_before_anything_is_sent(
    arguments, options, error, said
):
    with pytest.raises(error, match=re.escape(said)) as caught:
        probe(*arguments, **options)

    assert "pass-word" not in str(caught.value)


def test_nothing_secret_is_in_a_repr():
    """A failing assertion prints what it compares."""
    plan = Plan(
        headers=(("Cookie", "id=sess-ion"),), clients=(CLIENTS["strict"],), sizes=(KIB,), tries=1,
        ways=(WAYS["close"],), timeout_seconds=2,
    )  # fmt: skip
    shown = ""
    for script in (discarding, echo):
        with serving(script) as url:
            target = url.replace("http://", "http://bob:hunter2@")
            shown += repr(probe(f"{target}/up?key=tok-en", plan))

    secrets = ("hunter2", "tok-en", "sess-ion", "Ym9iOmh1bnRlcjI")
    assert "Attempt(" in shown
    assert [] == [secret for secret in secrets if secret in shown]


def test_it_needs_the_standard_library_and_the_clients_only():
    """Who has neither click nor rich, nor any framework, can probe."""
    program = (
        "import sys; before = set(sys.modules); import drainkit_probe;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert {"drainkit_probe", "drainkit_clients"} == (
        set(result.stdout.split()) - sys.stdlib_module_names
    )


@pytest.mark.parametrize(
    ("nbytes", "said"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (KIB, "1 KiB"), (1536, "1.5 KiB"),
     (1024 * MIB, "1 GiB")],
)  # fmt: skip
def test_sizes_in_words(nbytes, said):
    assert said == words.size(nbytes)
