"""The command ``drainkit probe``: options in, exit status out.

Rule: 0 every answer arrived, 1 some were lost, 2 wrong usage, 3 the target could not be tested,
130 Ctrl-C. With ``--json`` nothing but JSON is on standard output.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

import click

from drainkit_clients import Body, FileBody, FormBody
from drainkit_probe import (
    CLIENTS,
    DEFAULT_MAX_TOTAL_BYTES,
    DEFAULT_SIZES,
    DEFAULT_TIMEOUT_SECONDS,
    DEFAULT_TRIES,
    DEFAULT_WAYS,
    WAYS,
    BadReportError,
    BadTargetError,
    Earlier,
    Family,
    Kind,
    NotTestedError,
    Plan,
    Report,
    Run,
    Target,
    as_data,
    as_html,
    bearer_header,
    check_comparable,
    conclude,
    cookie_header,
    http2_is_missing,
    is_loopback,
    parse_header,
    uploads_with,
    words,
)

from ._arguments import size_of, tries_of
from ._probe_screen import ProbeScreen, plan_line
from ._terminal import Color

KIB = 1024

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_EXIT_USAGE = 2

# A form around nothing takes some 200 bytes.
_SMALLEST_BYTES = KIB
_LARGEST_BYTES = KIB**3
_LONGEST_SECONDS = 3600.0


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    sizes = {size_of(text, _SMALLEST_BYTES, _LARGEST_BYTES) for text in value.split(",")}
    return tuple(sorted(sizes))


def _names(
    known: Mapping[str, object],
) -> Callable[[click.Context, click.Parameter, str], tuple[str, ...]]:
    """Return the reader of a list of names with commas between them."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
        asked = [name.strip().lower() for name in value.split(",")]
        for name in asked:
            if name not in known:
                raise click.BadParameter(f"{name[:40]!r} is none of {', '.join(known)}")
        return tuple(name for name in known if name in asked)

    return read


def _tries(ctx: click.Context, param: click.Parameter, value: str) -> int:
    return tries_of(value, such_as=DEFAULT_TRIES)


def _timeout(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise click.BadParameter(
            f"{value[:40]!r} is not a number of seconds above 0 and up to {_LONGEST_SECONDS:g}; "
            "try 20"
        )
    return seconds


def _rate(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    return None if value is None else float(size_of(value, KIB, 1024 * _LARGEST_BYTES))


def _max_total(ctx: click.Context, param: click.Parameter, value: str) -> int:
    return size_of(value, _SMALLEST_BYTES, 1024 * _LARGEST_BYTES)


def _method(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not uploads_with(value):
        raise click.BadParameter(
            f"{value[:40]!r} is no method that uploads; give POST, PUT, PATCH or the like"
        )
    return value.upper()


def _headers(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(map(parse_header, value))
    except BadTargetError as error:
        raise click.BadParameter(str(error)) from None


def _bearer(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, str] | None:
    try:
        return None if value is None else bearer_header(value)
    except BadTargetError as error:
        raise click.BadParameter(str(error)) from None


def _cookies(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, str] | None:
    try:
        return cookie_header(*value) if value else None
    except BadTargetError as error:
        raise click.BadParameter(str(error)) from None


def _earlier(ctx: click.Context, param: click.Parameter, value: str | None) -> Earlier | None:
    if value is None:
        return None
    try:
        return Earlier.of(json.loads(Path(value).read_bytes()))
    except OSError as error:
        raise click.BadParameter(f"{value!r} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        # What json says of a file would show some of it.
        reason = str(error) if isinstance(error, BadReportError) else "it is not JSON"
        raise click.BadParameter(
            f"{value!r} cannot be compared with: {reason.removesuffix('.')}"
        ) from None


def _target(ctx: click.Context, param: click.Parameter, value: str) -> Target:
    try:
        return Target.parse(value)
    except BadTargetError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("target", metavar="URL", callback=_target)
@click.option(
    "-X",
    "--method",
    callback=_method,
    default="POST",
    show_default=True,
    metavar="METHOD",
    help="Method of the uploads.",
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    callback=_headers,
    metavar="'NAME: VALUE'",
    help="Send this header, too; may be repeated. Its value is shown nowhere.",
)
@click.option(
    "--bearer",
    callback=_bearer,
    envvar="DRAINKIT_PROBE_BEARER",
    show_envvar=True,
    metavar="TOKEN",
    help="Send this bearer token. It is shown nowhere.",
)
@click.option(
    "--cookie",
    "cookies",
    multiple=True,
    callback=_cookies,
    envvar="DRAINKIT_PROBE_COOKIE",
    show_envvar=True,
    metavar="NAME=VALUE",
    help="Send this cookie; may be repeated. It is shown nowhere.",
)
@click.option(
    "--body-file",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    metavar="FILE",
    help="Upload this file as the body, instead of a made-up one of each size.",
)
@click.option(
    "--field",
    default="file",
    show_default=True,
    metavar="NAME",
    help="File field of the form that is made up.",
)
@click.option(
    "--sizes",
    callback=_sizes,
    metavar="SIZE,...",
    help="Lengths of the uploads.  [default: 64K,1M,8M,32M]",
)
@click.option(
    "--tries",
    callback=_tries,
    default=str(DEFAULT_TRIES),
    show_default=True,
    metavar="NUMBER",
    help="Uploads of each kind; a loss is a race.",
)
@click.option(
    "--clients",
    callback=_names(CLIENTS),
    default=",".join(CLIENTS),
    show_default=True,
    metavar="NAME,...",
    help="strict sends all, then reads, as browsers do; eager reads meanwhile, as curl does.",
)
@click.option(
    "--ways",
    callback=_names(WAYS),
    default=",".join(way.name for way in DEFAULT_WAYS),
    show_default=True,
    metavar="NAME,...",
    help="The first one goes up all sizes, the others have one (8M, or the next above). http2 is "
    "spoken over TLS.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    callback=_timeout,
    default=f"{DEFAULT_TIMEOUT_SECONDS:g}",
    show_default=True,
    metavar="SECONDS",
    help="Longest wait: to connect, to send on, and for the answer after the last byte.",
)
@click.option(
    "--rate", callback=_rate, metavar="SIZE", help="Send at most so much a second: a slow link."
)
@click.option("-4", "family", flag_value=4, type=int, help="Connect over IPv4 only.")
@click.option("-6", "family", flag_value=6, type=int, help="Connect over IPv6 only.")
@click.option("--insecure", is_flag=True, help="Accept any TLS certificate.")
@click.option(
    "--max-total",
    callback=_max_total,
    default=f"{DEFAULT_MAX_TOTAL_BYTES // KIB**2}M",
    show_default=True,
    metavar="SIZE",
    help="Refuse to send more than this in all.",
)
@click.option("--yes", is_flag=True, help="Do not ask before a target that is not this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write a report with pictures.",
)
@click.option(
    "--compare",
    "earlier",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    callback=_earlier,
    metavar="FILE",
    help="Say whether it is better, same or worse than what --json printed into this file.",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Show what came back: status, headers, how bodies begin."
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours; auto honours NO_COLOR.",
)
def probe(
    target: Target,
    method: str,
    headers: tuple[tuple[str, str], ...],
    bearer: tuple[str, str] | None,
    cookies: tuple[str, str] | None,
    body_file: str | None,
    field: str,
    sizes: tuple[int, ...] | None,
    tries: int,
    clients: tuple[str, ...],
    ways: tuple[str, ...],
    timeout_seconds: float,
    rate: float | None,
    family: Family | None,
    insecure: bool,
    max_total: int,
    yes: bool,
    as_json: bool,
    html_path: str | None,
    earlier: Earlier | None,
    verbose: bool,
    color: Color,
) -> None:
    """Find out whether an endpoint of yours loses its early answers.

    Sends uploads to URL, one after the other, and watches what becomes of the answers. Choose a
    path that refuses uploads (with 401, 404, 413, ...): only there an answer can be early, and
    only an early one gets lost. Probe nothing that is not yours.

    Exit status: 0 if every answer arrived; 1 if some were lost; 2 for wrong usage; 3 if the target
    could not be tested (refused, DNS, TLS, redirected elsewhere, ...); 130 for Ctrl-C. With
    --compare: 0 for better, and for the same without a loss; 1 for worse; 4 for the same losses.
    """
    _check_http2(target, ways)
    body, lengths = _body(body_file, sizes, field)
    plan = Plan(
        method=method,
        clients=tuple(CLIENTS[name] for name in clients),
        ways=tuple(WAYS[name] for name in ways),
        tries=tries,
        timeout_seconds=timeout_seconds,
        rate_bytes_per_second=rate,
        headers=_with_credentials(headers, bearer, cookies),
        field=field,
        body=body,
        sizes=lengths,
    )
    if plan.total_bytes > max_total:
        raise click.UsageError(
            f"this would send up to {words.size(plan.total_bytes)}, more than --max-total "
            f"{words.size(max_total)}; ask for fewer --tries, smaller --sizes or fewer --ways, or "
            "raise --max-total"
        )
    if html_path == "":  # as from a variable of the shell that is not set
        raise click.BadParameter(
            "'' names no file; give one such as report.html", param_hint="--html"
        )
    if html_path is not None and not Path(html_path).absolute().parent.is_dir():
        raise click.BadParameter(
            f"the folder of {html_path!r} does not exist; create it", param_hint="--html"
        )
    if earlier is not None:
        _check_comparable(plan, earlier)
    run = Run(target, plan, family=family, insecure=insecure)
    screen = ProbeScreen(run, color)
    report = conclude(run, _measure(run, screen, yes, as_json), earlier=earlier)
    _show(report, screen, as_json, verbose)
    if html_path is not None:
        _write(html_path, as_html(report, verbose=verbose))
    sys.exit(report.exit_status)


def _measure(
    run: Run, screen: ProbeScreen, yes: bool, as_json: bool
) -> NotTestedError | KeyboardInterrupt | None:
    """Make the whole run; return what ended it before its end."""
    try:
        run.resolve()
        _confirm(run, yes)
        if as_json:
            click.echo(plan_line(run), err=True)
            run.look()
            run.upload()
        else:
            screen.begin()
            run.look()
            with screen.working():
                run.upload(screen.tell)
    except click.Abort:
        click.echo("\nNot confirmed, so nothing was sent.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except (NotTestedError, KeyboardInterrupt) as error:
        return error
    return None


def _with_credentials(
    headers: tuple[tuple[str, str], ...],
    bearer: tuple[str, str] | None,
    cookies: tuple[str, str] | None,
) -> tuple[tuple[str, str], ...]:
    """Return all headers; a request has one Authorization and one Cookie."""
    given = {name.lower() for name, _ in headers}
    for option, made in (("--bearer", bearer), ("--cookie", cookies)):
        if made is not None and made[0].lower() in given:
            raise click.UsageError(
                f"{option} and -H '{made[0]}: ...' exclude each other; leave one of them out"
            )
    return (*headers, *filter(None, (bearer, cookies)))


def _check_comparable(plan: Plan, earlier: Earlier) -> None:
    try:
        check_comparable(plan, earlier)
    except BadReportError as error:
        raise click.BadParameter(
            f"cannot be compared with: {error}", param_hint="--compare"
        ) from None


def _check_http2(target: Target, ways: tuple[str, ...]) -> None:
    """Refuse HTTP/2 where it cannot be spoken."""
    if all(WAYS[name].http == "1.1" for name in ways):
        return
    if target.scheme == "http":
        raise click.BadParameter(
            "http2 is probed over TLS only; give an https:// URL, or leave http2 out",
            param_hint="--ways",
        )
    if (missing := http2_is_missing()) is not None:
        raise click.BadParameter(f"http2: {missing}", param_hint="--ways")


def _body(
    body_file: str | None, sizes: tuple[int, ...] | None, field: str
) -> tuple[Body | None, tuple[int, ...]]:
    """Return the plan's body and sizes."""
    if body_file is None:
        try:
            FormBody(_SMALLEST_BYTES, field)
        except ValueError:
            raise click.BadParameter(
                f"{field[:40]!r} is no name of a field; give a short one without quotes and line "
                "ends",
                param_hint="--field",
            ) from None
        return None, sizes or DEFAULT_SIZES
    if sizes is not None:
        raise click.UsageError(
            "--sizes and --body-file exclude each other: a file has one size; leave one of them out"
        )
    try:
        body: Body = FileBody.of(body_file)
    except OSError as error:
        raise click.BadParameter(
            f"{body_file!r} cannot be read: {error.strerror}", param_hint="--body-file"
        ) from None
    if not body.size_bytes:
        raise click.BadParameter(
            f"{body_file!r} is empty, and without a body no answer is early; give a larger one",
            param_hint="--body-file",
        )
    return body, (body.size_bytes,)


def _confirm(run: Run, yes: bool) -> None:
    """Ask before anything is sent to another machine."""
    host = run.target.host
    if yes or all(map(is_loopback, run.addresses)):
        return
    stdin: TextIO | None = sys.stdin  # None where it was closed before the program began
    if stdin is None or not stdin.isatty():
        raise click.UsageError(
            f"{host} is not this machine, and up to {words.size(run.plan.total_bytes)} would be "
            "sent there; if the server is yours to test, give --yes"
        )
    click.echo(plan_line(run) + f". {host} is not this machine.", err=True)
    said = click.prompt("Type the name of the host to go on", default="", err=True)
    if said.strip().lower() != host:
        raise click.UsageError(f"that was not {host!r}, so nothing was sent")


def _show(report: Report, screen: ProbeScreen, as_json: bool, verbose: bool) -> None:
    verdict = report.verdict
    if as_json:
        click.echo(json.dumps(as_data(report, verbose=verbose), indent=2))
    elif verdict.kind is Kind.NOT_TESTED and not report.interrupted and not report.run.attempts:
        click.echo(f"Could not test: {verdict.sentence}.", err=True)
    else:
        screen.conclude(report, verbose=verbose)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"Error: the report {path!r} cannot be written: {error.strerror}", err=True)
        sys.exit(_EXIT_USAGE)
