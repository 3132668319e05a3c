"""The command line: what it shows was seen in that run, and its exit status says so."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

pytest.importorskip("click", reason="drainkit demo needs click (extra: cli)")
pytest.importorskip("rich", reason="drainkit demo needs rich (extra: cli)")

from click.testing import CliRunner, Result

from drainkit_cli import _behind, _experiment
from drainkit_cli._commands import main

PAGE = _experiment.PAGE
LIMIT_SECONDS = 60.0


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, arguments, env=env)


def reading(environ, start_response):
    """Answer 413 as the demonstration's application does, but read the body: nothing is lost."""
    left = int(environ["CONTENT_LENGTH"])
    while left:
        left -= len(environ["wsgi.input"].read(min(left, 65536)))
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(PAGE)))]
    start_response("413 Content Too Large", headers)
    return [PAGE]


def refusing(environ, start_response):
    """Answer something else than was announced."""
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def raising(environ, start_response):
    """Answer nothing."""
    raise RuntimeError("as the test asked")


@pytest.fixture
def serve(monkeypatch):
    """Serve another application; the server, the client and the loss are as real as ever."""
    return lambda application: monkeypatch.setattr(_experiment, "answering_early", application)


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """No thread of the demonstration survives it; sockets are watched by the warning filter."""
    yield
    assert [] == [thread for thread in threading.enumerate() if thread.name == "drainkit demo"]


def test_the_demonstration_loses_the_answer_then_delivers_it():
    """The whole experiment, as a reader of README runs it, with its output in a pipe."""
    result = run("demo")

    assert 0 == result.exit_code, result.output
    lines = result.output.splitlines()
    assert re.fullmatch(r"drainkit .*: 3 uploads of 32 MiB each way .*", lines[0])
    lost = r"without drainkit, try \d of 3: lost, \w+ while \w+ after [\d.]+ \w+"
    assert any(re.fullmatch(lost, line) for line in lines[1:4])
    arrived = (
        r"with drainkit, try \d of 3: 413 arrived, first byte read after [\d.]+ m?s; "
        r"32 MiB discarded in [\d.]+ m?s, drain complete"
    )
    assert all(re.fullmatch(arrived, line) for line in lines[4:7])
    assert lines[7].endswith("with it 3 of 3 arrived.")
    assert 8 == len(lines)


def test_json_is_all_there_is_on_stdout():
    """Whoever pipes it into another program gets data, with the documented names."""
    result = run("demo", "--json", "--tries", "2")

    assert 0 == result.exit_code, result.output
    data = json.loads(result.stdout)
    assert "" == result.stderr
    assert {
        "drainkit",
        "python",
        "server",
        "proxy",
        "versions",
        "proxy_errors",
        "expected_status",
        "size_bytes",
        "observed",
        "without_drainkit",
        "with_drainkit",
    } == set(data)
    assert ("wsgiref", None, {}) == (data["server"], data["proxy"], data["proxy_errors"])
    assert (32 * 1024 * 1024, True, 413) == (
        data["size_bytes"],
        data["observed"],
        data["expected_status"],
    )
    bare, drained = data["without_drainkit"], data["with_drainkit"]
    assert 2 == bare["lost"] + bare["arrived"] == len(bare["tries"])
    lost = next(one for one in bare["tries"] if not one["arrived"])
    assert lost["drain"] is None
    assert "while" in lost["error"]
    assert lost["sent_bytes"] < data["size_bytes"]
    for one in drained["tries"]:
        assert (True, 413, None) == (one["arrived"], one["status"], one["error"])
        assert 0 < one["first_byte_seconds"] <= one["seconds"]
        assert ("complete", data["size_bytes"]) == (
            one["drain"]["outcome"],
            one["drain"]["discarded_bytes"],
        )


def test_without_a_loss_it_says_so_and_fails(serve):
    """An application that reads its body loses nothing, so nothing was shown."""
    serve(reading)
    result = run("demo", "--size", "2M")

    assert 1 == result.exit_code
    assert "No loss was seen: without drainkit all 3 answers arrived" in result.output


def test_without_a_loss_json_says_so_and_fails(serve):
    """The same as data: no body was left unread, so there is no drain either."""
    serve(reading)
    result = run("demo", "--size", "2M", "--json")

    assert 1 == result.exit_code
    data = json.loads(result.stdout)
    assert (False, 0) == (data["observed"], data["without_drainkit"]["lost"])
    assert all(one["drain"] is None for one in data["with_drainkit"]["tries"])


@pytest.mark.parametrize(
    ("application", "seen"),
    [(refusing, "another answer arrived, status 404"), (raising, "status 500")],
)
def test_another_answer_is_not_the_promised_one(serve, application, seen):
    """Delivered is only what the application was to say."""
    serve(application)
    result = run("demo")

    assert 1 == result.exit_code
    assert seen in result.output
    assert "with it 0 of 3 arrived. That is not what was promised" in result.output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--size", "big"], "'big' is not a size; give a number of bytes"),
        (["--size", "-5"], "'-5' is not a size"),
        (["--size", "0"], "'0' is 0 bytes; give a size from 1 byte to 1 GiB"),
        (["--size", "2G"], "'2G' is 2147483648 bytes; give a size from 1 byte to 1 GiB"),
        (["--size", "1" * 5000], "is not a size"),
        (["--tries", "0"], "'0' is not a whole number from 1 to 100; try 3"),
        (["--tries", "3.5"], "'3.5' is not a whole number"),
        (["--tries", "٣"], "is not a whole number"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_bad_argument_is_named_with_its_cure(arguments, named):
    """Exit status 2, and nothing is started."""
    result = run("demo", *arguments)

    assert 2 == result.exit_code
    assert named in re.sub(r"\s+", " ", result.stderr)
    assert "" == result.stdout


@pytest.mark.parametrize(
    ("size", "nbytes"), [("70000", 70000), ("64K", 65536), ("1MiB", 1048576), ("1m", 1048576)]
)
def test_sizes(serve, size, nbytes):
    """Bytes, or powers of 1024."""
    serve(reading)
    result = run("demo", "--json", "--tries", "1", "--size", size)

    assert nbytes == json.loads(result.stdout)["size_bytes"]


def test_no_port_is_an_error_without_a_traceback(monkeypatch):
    """Somebody else's fault, said in one line."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(_experiment, "upload", refuse)
    result = run("demo")

    assert 1 == result.exit_code
    assert "Error: no server on 127.0.0.1: [Errno 98] Address already in use\n" == result.stderr


def test_without_nginx_it_says_so_in_one_line_and_starts_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(_behind, "_MORE_FOLDERS", ())
    result = run("demo", "--behind", "nginx", env={"PATH": str(tmp_path)})

    assert 2 == result.exit_code
    assert "" == result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        "Error: --behind nginx needs the program nginx, which is not on the PATH;"
    )


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_an_nginx_that_does_not_start_is_told_in_its_own_words(tmp_path):
    """Every one of its tries ends, and what stood behind it does, too."""
    nginx = tmp_path / "nginx"
    nginx.write_text("#!/bin/sh\necho 'nginx: [emerg] no luck today'; exit 1\n", encoding="utf-8")
    nginx.chmod(0o755)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PATH", os.defpath)])
    result = subprocess.run(
        [sys.executable, "-m", "drainkit_cli", "demo", "--behind", "nginx"],
        env={**os.environ, "PATH": path, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )

    assert 2 == result.returncode
    told = "Error: nginx does not start: nginx: [emerg] no luck today\n"
    assert ("", told) == (result.stdout, result.stderr)
    assert [] == list(temporary.iterdir())


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs a shell of Unix")
def test_an_nginx_is_ended_where_processes_have_no_groups(monkeypatch, tmp_path):
    """As on Windows, where gunicorn cannot run."""
    nginx = tmp_path / "nginx"
    nginx.write_text("#!/bin/sh\necho 'nginx: [emerg] no luck'; exit 1\n", encoding="utf-8")
    nginx.chmod(0o755)
    monkeypatch.delattr(os, "killpg")
    monkeypatch.setattr(_behind, "_gunicorn_version", lambda: None)
    result = run("demo", "--behind", "nginx", env={"PATH": str(tmp_path)})

    assert (2, "Error: nginx does not start: nginx: [emerg] no luck\n") == (
        result.exit_code, result.stderr
    )  # fmt: skip


def test_version():
    """It is the distribution's."""
    result = run("--version")

    assert 0 == result.exit_code
    assert re.fullmatch(r"drainkit, version \S.*\n", result.output)


# A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from drainkit_cli._commands import main
main(sys.argv[1:])
"""


def test_ctrl_c_ends_it_without_a_traceback():
    """Exit status 130, as shells count, while an upload is under way."""
    command = [sys.executable, "-c", PROGRAM, "demo", "--size", "1G", "--tries", "100"]
    # As whoever calls it runs it: Python may warn of a socket that Ctrl-C has kept from closing.
    env = {**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("with drainkit, try 1"):  # 1 GiB at a time from here
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_SECONDS)

    assert 130 == process.returncode, errors
    assert "\nInterrupted; the server has been stopped.\n" == errors


def test_ctrl_c_while_the_server_starts_ends_it_without_a_traceback(monkeypatch):
    start, started, failed = threading.Thread.start, [], []

    def interrupted(thread):
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with pytest.raises(KeyboardInterrupt):
        _experiment.upload(1024, _experiment.answering_early, drained=True)
    (thread,) = started
    thread.join(LIMIT_SECONDS)

    assert (False, []) == (thread.is_alive(), failed)


def on_terminal(*arguments: str, columns: int = 80, **env: str) -> tuple[int, str]:
    """Run the command on a terminal; return its exit status and all that was written."""
    pty = pytest.importorskip("pty", reason="needs a terminal of Unix")
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "drainkit_cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
                "TERM": "xterm",
                "COLUMNS": str(columns),
                "PYTHONIOENCODING": "utf-8",
                **env,
            },
        )
    finally:
        os.close(theirs)
    written = b""
    # Linux says EIO when the other side of a terminal is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            written += piece
    os.close(ours)
    return process.wait(LIMIT_SECONDS), written.decode()


def final_screen(written: str) -> list[str]:
    """Return the lines behind the progress display, without colours and cursor movements."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "")
    return plain[plain.index("drainkit demo") :].splitlines()


def test_on_a_terminal_it_fits_one_screen():
    """80 columns and 24 lines, with a progress display before and colours."""
    status, written = on_terminal("demo")

    assert 0 == status, written
    assert "uploads" in written[: written.index("drainkit demo")]
    assert "\x1b[32m" in written
    lines = final_screen(written)
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert any("without drainkit · " in line for line in lines)
    assert any(line.startswith("✓ Without drainkit ") for line in lines)


@pytest.mark.parametrize("columns", [60, 40])
def test_on_a_narrow_terminal_it_fits_too(columns):
    """Nothing is cut off, and the lines to copy are the terminal's to wrap."""
    status, written = on_terminal("demo", "--tries", "1", columns=columns)
    lines = final_screen(written)

    assert 0 == status, written
    assert "…" not in written
    assert "    from drainkit_wsgi import DrainMiddleware" in lines
    assert [] == [line for line in lines if len(line) > columns and "DrainMiddleware" not in line]
    assert re.search(r"─ without drainkit .*─", "\n".join(lines))
    assert "0 of 1 answer arrived" in "\n".join(lines)


def test_no_color_is_honoured():
    """https://no-color.org: no colour, whatever else."""
    status, written = on_terminal("demo", "--tries", "1", NO_COLOR="1")

    assert 0 == status, written
    assert not re.search(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7])\b[0-9;]*m", written)


def test_a_terminal_that_knows_ascii_only_gets_ascii():
    """No UnicodeEncodeError instead of a verdict."""
    status, written = on_terminal("demo", "--tries", "1", PYTHONIOENCODING="ascii")

    assert 0 == status, written
    assert written.isascii()
    verdict = "+ Without drainkit 1 of 1 answer was lost, with it 1 of 1 arrived."
    assert verdict in map(str.rstrip, final_screen(written))
