"""The commands: arguments in, exit status out.

Rule: 0 is what was promised, 1 is something else that was seen, 2 is an argument that cannot be
used, 130 is Ctrl-C. No traceback for any of them.
"""

from __future__ import annotations

import json
import sys

import click

from drainkit_probe import VERSION

from . import _experiment
from ._arguments import size_of, tries_of
from ._data import as_data
from ._probe_command import EXIT_INTERRUPTED, probe
from ._screen import Screen

# drainkit's own default bound: beyond it the answer may be lost with drainkit, too.
_LARGEST_BYTES = 1024**3


def _as_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    return size_of(value, 1, _LARGEST_BYTES, " (drainkit's own default limit)")


def _as_tries(ctx: click.Context, param: click.Parameter, value: str) -> int:
    return tries_of(value, such_as=3)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="drainkit")
def main() -> None:
    """Early answers that arrive: a demonstration, and a probe for servers of yours."""


main.add_command(probe)


@main.command()
@click.option(
    "--size",
    "size_bytes",
    callback=_as_size,
    metavar="SIZE",
    default="32M",
    show_default=True,
    help="Length of each upload: bytes, or a number with K, M or G.",
)
@click.option(
    "--tries",
    callback=_as_tries,
    metavar="NUMBER",
    default="3",
    show_default=True,
    help="Uploads without drainkit, and as many with it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def demo(size_bytes: int, tries: int, as_json: bool) -> None:
    """Lose an answer on this machine, then deliver it.

    Starts the standard library's server (wsgiref) on the loopback interface, with an application
    that answers 413 without reading the upload, and uploads to it with a client that sends
    everything before it reads: first without drainkit, then with it.

    Exit status: 0 if an answer was lost without drainkit and every one arrived with it, in this
    run; 1 if not; 2 for an argument that cannot be used; 130 for Ctrl-C.
    """
    try:
        sys.exit(_demo(size_bytes, tries, as_json))
    except KeyboardInterrupt:
        click.echo("\nInterrupted; the server has been stopped.", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _demo(size_bytes: int, tries: int, as_json: bool) -> int:
    application = _experiment.answering_early
    try:
        if as_json:
            observation = _experiment.observe(
                size_bytes, tries, application=application, tell=_tell_nobody
            )
            click.echo(json.dumps(as_data(observation), indent=2))
        else:
            screen = Screen(size_bytes, tries)
            with screen.working():
                observation = _experiment.observe(
                    size_bytes, tries, application=application, tell=screen.tell
                )
            screen.conclude(observation)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # our own output's reader has left; click ends quietly
        click.echo(f"Error: no server on {_experiment.LOOPBACK}: {error}", err=True)
        return 1
    return 0 if observation.convincing else 1


def _tell_nobody(drained: bool, number: int, one: _experiment.Try) -> None:
    return None
