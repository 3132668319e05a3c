"""The commands: arguments in, exit status out.

Rule: 0 is what was promised, 1 is something else that was seen, 2 is an argument that cannot be
used, 130 is Ctrl-C. No traceback for any of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping

import click

from drainkit_probe import VERSION

from . import _experiment
from ._arguments import size_of, tries_of
from ._behind import NoProxyError, behind_nginx
from ._data import as_data
from ._experiment import Setting, Uploader
from ._probe_command import EXIT_INTERRUPTED, probe
from ._screen import Screen

# drainkit's own default bound: beyond it the answer may be lost with drainkit, too.
_LARGEST_BYTES = 1024**3
_USAGE_STATUS = 2

# Size and tries that show the loss: wsgiref alone loses each of so large ones, and behind nginx
# most of those that are this small are.
_DEFAULTS = {None: ("32M", "3"), "nginx": ("8M", "10")}


def _as_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    value = value or _DEFAULTS[ctx.params.get("behind")][0]
    return size_of(value, 1, _LARGEST_BYTES, " (drainkit's own default limit)")


def _as_tries(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    return tries_of(value or _DEFAULTS[ctx.params.get("behind")][1], such_as=3)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="drainkit")
def main() -> None:
    """Early answers that arrive: a demonstration, and a probe for servers of yours."""


main.add_command(probe)


@main.command()
@click.option(
    "--behind",
    type=click.Choice(["nginx"]),
    is_eager=True,
    help="Put an nginx of the demonstration's own in front; gunicorn is the server if installed.",
)
@click.option(
    "--size",
    "size_bytes",
    callback=_as_size,
    metavar="SIZE",
    show_default="32M; behind nginx 8M",
    help="Length of each upload: bytes, or a number with K, M or G.",
)
@click.option(
    "--tries",
    callback=_as_tries,
    metavar="NUMBER",
    show_default="3; behind nginx 10",
    help="Uploads without drainkit, and as many with it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def demo(behind: str | None, size_bytes: int, tries: int, as_json: bool) -> None:
    """Lose an answer on this machine, then deliver it.

    Starts the standard library's server (wsgiref) on the loopback interface, with an application
    that answers 413 without reading the upload, and uploads to it with a client that sends
    everything before it reads: first without drainkit, then with it.

    With --behind nginx it also starts an nginx at its defaults (but for its limit on uploads) in
    front of that server, or of gunicorn where gunicorn is installed. Lost is then an answer in the
    place of which nginx gave its 502.

    Exit status: 0 if an answer was lost without drainkit and every one arrived with it, in this
    run; 1 if not; 2 for an argument that cannot be used, or without nginx; 130 for Ctrl-C.
    """
    try:
        sys.exit(_demo(behind, size_bytes, tries, as_json))
    except KeyboardInterrupt:
        click.echo("\nInterrupted; the server has been stopped.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except NoProxyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_USAGE_STATUS)


def _demo(behind: str | None, size_bytes: int, tries: int, as_json: bool) -> int:
    try:
        with _place(behind) as place:
            if as_json:
                observation = _observe(place, size_bytes, tries, _tell_nobody)
                click.echo(json.dumps(as_data(observation), indent=2))
            else:
                screen = Screen(size_bytes, tries, place.setting)
                with screen.working():
                    observation = _observe(place, size_bytes, tries, screen.tell)
                screen.conclude(observation)
    except OSError as error:
        if isinstance(error, (BrokenPipeError, NoProxyError)):
            # Our own output's reader has left, and click ends quietly; or it is not our fault.
            raise
        click.echo(f"Error: no server on {_experiment.LOOPBACK}: {error}", err=True)
        return 1
    return 0 if observation.convincing else 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    setting: Setting
    upload: Uploader
    errors: Callable[[], Mapping[str, int]] = dict


@contextlib.contextmanager
def _place(behind: str | None) -> Iterator[_Place]:
    if behind is None:
        yield _Place(Setting(), _upload_alone)
        return
    with behind_nginx() as running:
        yield _Place(running.setting, running.upload, running.errors)


def _upload_alone(size_bytes: int, *, drained: bool) -> _experiment.Try:
    return _experiment.upload(size_bytes, _experiment.answering_early, drained=drained)


def _observe(
    place: _Place, size_bytes: int, tries: int, tell: _experiment.Teller
) -> _experiment.Observation:
    observation = _experiment.observe(size_bytes, tries, upload=place.upload, tell=tell)
    return dataclasses.replace(observation, setting=place.setting, proxy_errors=place.errors())


def _tell_nobody(drained: bool, number: int, one: _experiment.Try) -> None:
    return None
