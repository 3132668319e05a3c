"""Headless Chromium that uploads a file, as a form or with ``fetch``, and what came of it.

It is driven over its debugging pipe (the Chrome DevTools Protocol), which tells the status and the
network error, as no page can. Each upload has a browser context, and so a connection, of its own.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from drainkit_clients import Answer, Upload

How = Literal["form", "fetch"]
Message = dict[str, Any]

# What the browser may take for a command that waits for nobody.
_COMMAND_SECONDS = 60.0
_STOP_SECONDS = 5.0
_RECEIVE_BYTES = 1 << 20
_KEPT_BYTES = 64 << 20
# Chromium takes commands on descriptor 3 and answers on 4; these are above both.
_LOWEST_FD = 10
_LAUNCH = """
import os, sys
commands, answers, *program = sys.argv[1:]
os.dup2(int(commands), 3)
os.dup2(int(answers), 4)
os.execv(program[0], program)
"""

# --no-sandbox: CI runs as root. The rest keeps Chromium from looking for hosts of its maker.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    # Its own pages cost as much as all uploads.
    "--no-startup-window",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Nobody has signed the certificates of the tests.
    "--ignore-certificate-errors",
    # The page is of another origin than the server that it uploads to.
    "--disable-web-security",
)

_FORM = """
document.body.innerHTML = `<form method="post" enctype="multipart/form-data">
<input type="file" name="file"></form>`;
document.forms[0].action = %s;
document.querySelector("input")
"""
_SEND: dict[How, str] = {
    "form": "document.forms[0].submit()",
    # The promise is asked for once the network's log says that the answer is here.
    "fetch": """window.answered = fetch(document.forms[0].action,
      {method: "POST", body: document.querySelector("input").files[0]}
    ).then((answer) => answer.text()).catch(String); null""",
}


class BrowserError(RuntimeError):
    """Chromium itself does not do what it is told."""


def chromium() -> str | None:
    """Return the program, or None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One Chromium; a context manager that ends it."""

    def __init__(self, *, http2: bool) -> None:
        """Start it.

        Args:
            http2: Whether it may speak HTTP/2.
        """
        program = chromium()
        if program is None:
            raise BrowserError("needs chromium")
        self._next_id = 0
        self._buffer = b""
        self._unread: list[Message] = []
        self._profile = tempfile.TemporaryDirectory(
            prefix="drainkit-chromium-", ignore_cleanup_errors=True
        )
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        passed = [fcntl.fcntl(fd, fcntl.F_DUPFD, _LOWEST_FD) for fd in (theirs_in, theirs_out)]
        flags = [*_FLAGS, f"--user-data-dir={self._profile.name}"]
        if not http2:
            flags.append("--disable-http2")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, *map(str, passed), program, *flags],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            for fd in (theirs_in, theirs_out, *passed):
                os.close(fd)
        self._in, self._out = ours_in, ours_out

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its profile."""
        with contextlib.suppress(BrowserError, OSError):
            self._send("Browser.close", {}, None)
        os.close(self._out)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
        os.close(self._in)
        self._profile.cleanup()

    def upload(self, url: str, file: Path, how: How, *, timeout_seconds: float) -> Answer:
        """Upload a file as a person or a script would; return what Chromium had.

        A redirect counts with its own status, since Chromium follows it at once. How many bytes
        were sent is not known: ``sent_bytes`` is 0.

        Args:
            url: Where to.
            file: What is uploaded.
            how: A form that is submitted, or ``fetch``.
            timeout_seconds: The longest wait for the answer.
        """
        context = self._call("Target.createBrowserContext")["browserContextId"]
        try:
            target = self._call(
                "Target.createTarget", {"url": "about:blank", "browserContextId": context}
            )["targetId"]
            session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})[
                "sessionId"
            ]
            kept = {"maxTotalBufferSize": _KEPT_BYTES, "maxResourceBufferSize": _KEPT_BYTES}
            self._call("Network.enable", kept, session)
            # A page that is left takes the log of its requests along if nobody asked for pages.
            self._call("Page.enable", {}, session)
            made = self._call("Runtime.evaluate", {"expression": _FORM % json.dumps(url)}, session)[
                "result"
            ]
            self._call(
                "DOM.setFileInputFiles",
                {"files": [str(file)], "objectId": made["objectId"]},
                session,
            )
            self._unread.clear()
            started = time.monotonic()
            self._send("Runtime.evaluate", {"expression": _SEND[how]}, session)
            return self._watch(session, how, started, timeout_seconds)
        finally:
            self._call("Target.disposeBrowserContext", {"browserContextId": context})

    def _watch(self, session: str, how: How, started: float, timeout_seconds: float) -> Answer:
        """Follow the events of the one POST until it is answered, or fails."""
        request, status, first, version = None, None, None, None
        for event in self._events(session, started + timeout_seconds):
            told = event["params"]
            method = event["method"]
            if method == "Network.requestWillBeSent":
                if request is None and told["request"]["method"] == "POST":
                    request = told["requestId"]
                elif told["requestId"] == request and "redirectResponse" in told:
                    response = told["redirectResponse"]
                    status, version = response["status"], response.get("protocol")
                    return _answer(status, b"", started, _first_byte(response), version)
            elif told.get("requestId") != request:
                continue
            elif method == "Network.responseReceived":
                status, version = told["response"]["status"], told["response"].get("protocol")
                first = _first_byte(told["response"])
            elif method == "Network.loadingFailed":
                return _answer(status, b"", started, first, version, told["errorText"])
            elif method == "Network.loadingFinished":
                body = self._body(session, how, request)
                return _answer(status, body, started, first, version)
        return _answer(status, b"", started, first, version, "timed out")

    def _body(self, session: str, how: How, request: str | None) -> bytes:
        if how == "form":
            got = self._call("Network.getResponseBody", {"requestId": request}, session)
            body: str = got["body"]
            return base64.b64decode(body) if got["base64Encoded"] else body.encode()
        # Chromium does not keep the answer to a fetch with such a large upload.
        asked = {"expression": "answered", "awaitPromise": True, "returnByValue": True}
        text: str = self._call("Runtime.evaluate", asked, session)["result"]["value"]
        return text.encode()

    # --- the pipe --------------------------------------------------------------------------------

    def _send(self, method: str, params: Message, session: str | None) -> int:
        self._next_id += 1
        message: Message = {"id": self._next_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._next_id

    def _call(
        self, method: str, params: Message | None = None, session: str | None = None
    ) -> Message:
        number = self._send(method, params or {}, session)
        deadline = time.monotonic() + _COMMAND_SECONDS
        while (message := self._receive(deadline)) is not None:
            if message.get("id") != number:
                self._unread.append(message)
            elif "error" in message:
                raise BrowserError(f"{method}: {message['error']['message']}")
            else:
                result: Message = message["result"]
                return result
        raise BrowserError(f"{method}: no answer in {_COMMAND_SECONDS} s")

    def _events(self, session: str, deadline: float) -> Iterator[Message]:
        while True:
            message = self._unread.pop(0) if self._unread else self._receive(deadline)
            if message is None:
                return
            if message.get("sessionId") == session and "method" in message:
                yield message

    def _receive(self, deadline: float) -> Message | None:
        """Return the next message; None when there is none in time."""
        while (end := self._buffer.find(b"\0")) < 0:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                return None
            data = os.read(self._in, _RECEIVE_BYTES)
            if not data:
                raise BrowserError("Chromium ended")
            self._buffer += data
        message: Message = json.loads(self._buffer[:end])
        self._buffer = self._buffer[end + 1 :]
        return message


def _first_byte(response: Message) -> float | None:
    timing = response.get("timing")
    # In milliseconds since the request began; -1 where Chromium does not know.
    if not timing or timing["receiveHeadersStart"] < 0:
        return None
    milliseconds: float = timing["receiveHeadersStart"]
    return milliseconds / 1000


def _answer(
    status: int | None,
    body: bytes,
    started: float,
    first_byte_seconds: float | None,
    version: str | None,
    error: str | None = None,
) -> Answer:
    return Answer(
        status=status,
        headers=(),
        body=body,
        complete=error is None,
        sent_bytes=0,
        error=error,
        first_byte_seconds=first_byte_seconds,
        sent_at_first_byte_bytes=None,
        seconds=time.monotonic() - started,
        ended="open",
        version=version,
    )


class Browsers:
    """Starts Chromium when first asked for, one for each way to speak, and again when it hangs."""

    def __init__(self) -> None:
        self._browsers: dict[bool, Browser] = {}

    def client(
        self, how: How, *, http2: bool, file_of: Callable[[Upload], Path]
    ) -> Callable[..., Answer]:
        """Return a client for `drainkit_conformance.judge`.

        Args:
            how: A form that is submitted, or ``fetch``.
            http2: Whether it must speak HTTP/2.
            file_of: Returns the file that holds an upload's body.
        """

        def upload(
            address: tuple[str, int],
            upload: Upload,
            *,
            timeout_seconds: float,
            ssl_context: ssl.SSLContext | None = None,
        ) -> Answer:
            scheme = "http" if ssl_context is None else "https"
            url = f"{scheme}://{address[0]}:{address[1]}{upload.path}"
            if http2 not in self._browsers:
                self._browsers[http2] = Browser(http2=http2)
            try:
                answer = self._browsers[http2].upload(
                    url, file_of(upload), how, timeout_seconds=timeout_seconds
                )
            except (BrowserError, OSError):
                self._browsers.pop(http2).close()
                raise
            if answer.version is not None and (answer.version == "h2") != http2:
                raise BrowserError(f"spoke {answer.version}")
            return answer

        return upload

    def close(self) -> None:
        """End them all."""
        with contextlib.ExitStack() as stack:
            for http2 in list(self._browsers):
                stack.callback(self._browsers.pop(http2).close)
