"""The tables of "Do I need this?", made from ``docs/matrix.json``.

Each stands between two comments of the page; ``tests/core/test_needs_page.py`` fails when one is
not what the JSON says, and ``python -m tests.matrix.needs`` writes them anew.
"""

import re
from collections.abc import Iterator

from tests.matrix import picture, results
from tests.matrix.results import WITHOUT, Matrix
from tests.matrix.run import is_whole

PAGE_PATH = results.ROOT / "docs" / "explanation" / "do-i-need-this.md"

# What people call it, and its name in the matrix.
TABLES: dict[str, dict[str, str]] = {
    "wsgi": {
        "gunicorn, `sync` (its default)": "gunicorn-sync",
        "gunicorn, `gthread`": "gunicorn-gthread",
        "gunicorn, `gevent`": "gunicorn-gevent",
        "gunicorn, `tornado`": "gunicorn-tornado",
        "uWSGI, `--http`": "uwsgi-http",
        "uWSGI behind nginx (`uwsgi_pass`)": "uwsgi-nginx",
        "mod_wsgi, daemon mode": "mod_wsgi-daemon",
        "mod_wsgi, embedded mode": "mod_wsgi-embedded",
        "granian, WSGI": "granian-wsgi",
        "cheroot, CherryPy": "cheroot",
        "gevent.pywsgi": "gevent-pywsgi",
        "waitress": "waitress",
        "bjoern": "bjoern",
        "werkzeug, `flask run`": "werkzeug",
        "Django's `runserver`": "runserver",
        "wsgiref": "wsgiref",
    },
    "asgi": {
        "uvicorn, `fastapi run`": "uvicorn-httptools",
        "gunicorn with uvicorn's worker": "gunicorn-uvicorn",
        "gunicorn, its own `asgi` worker": "gunicorn-asgi",
        "hypercorn": "hypercorn-asyncio",
        "hypercorn, HTTP/2": "hypercorn-asyncio:h2",
        "granian, ASGI": "granian-asgi",
        "granian, HTTP/2": "granian-asgi:h2",
        "daphne": "daphne",
    },
    "proxies": {
        "nginx, gunicorn `sync`": "nginx>gunicorn-sync",
        "nginx, uvicorn": "nginx>uvicorn-h11",
        "nginx with HTTP/1.0, uvicorn": "nginx-1.0>uvicorn-h11",
        "nginx, hypercorn": "nginx>hypercorn-asyncio",
        "HAProxy, gunicorn `sync`": "haproxy>gunicorn-sync",
        "HAProxy, uvicorn": "haproxy>uvicorn-h11",
        "Apache, gunicorn `sync`": "apache>gunicorn-sync",
        "Apache, uvicorn": "apache>uvicorn-h11",
        "Caddy, gunicorn `sync`": "caddy>gunicorn-sync",
        "Caddy, uvicorn": "caddy>uvicorn-h11",
    },
}
_PAGE = "page"
_CLOSE = "-close"


def verdict(matrix: Matrix, name: str) -> str:
    """Return who needs drainkit on a deployment, from the cells that are not whole without it."""
    half = matrix["deployments"][name][WITHOUT]
    lost = {
        (client, case)
        for client, cells in half["clients"].items()
        for case, cell in cells.items()
        if not is_whole(cell)
    }
    if half["error"] is not None:
        return "**yes**"
    if not lost:
        return "no"
    if all(case == _PAGE for _, case in lost):
        return "large"
    if all(case == _PAGE or client.endswith(_CLOSE) for client, case in lost):
        return "close"
    return "**yes**"


def table(matrix: Matrix, rows: dict[str, str]) -> str:
    """Return one table."""
    lines = ["| you run | without | with | need it? |", "|---|---|---|---|"]
    for words, name in rows.items():
        bare, drained = (
            "{}/{}".format(*picture.total(matrix, half, [name]))
            for half in (results.WITHOUT, results.WITH)
        )
        lines.append(f"| {words} | {bare} | {drained} | {verdict(matrix, name)} |")
    return "\n".join(lines)


def made(text: str, matrix: Matrix) -> str:
    """Return a page with its tables as they should be."""
    for name, rows in TABLES.items():
        begin, end = f"% begin {name}\n", f"% end {name}\n"
        if begin not in text or end not in text:
            raise ValueError(f"the page has no place for the table {name!r}")
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        content = f"{begin}\n{table(matrix, rows)}\n\n{end}"
        text = re.sub(pattern, lambda _, new=content: new, text, flags=re.S)  # type: ignore[misc]
    return text


def names() -> Iterator[str]:
    """Return the deployments that the page shows."""
    for rows in TABLES.values():
        yield from rows.values()


if __name__ == "__main__":
    PAGE_PATH.write_text(
        made(PAGE_PATH.read_text(encoding="utf-8"), results.load(results.JSON_PATH)),
        encoding="utf-8",
    )
