"""A FastAPI application of the scenarios, with a pool, a database and an error page."""

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated

import anyio
from fastapi import Depends, FastAPI
from parity_parts import Application, drained_starlette, entry
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

POOL = 5
PAGE = "<p>Your file is too large, and this is a page that says so.</p>\n" * 64

app = FastAPI()
_pool: list[anyio.Semaphore] = []


async def connection() -> AsyncIterator[str]:
    """Hold a place of the pool until the answer is out."""
    if not _pool:
        _pool.append(anyio.Semaphore(POOL))
    async with _pool[0]:
        yield "connection"


Connection = Annotated[str, Depends(connection)]


@app.post("/fastapi/pool")
async def upload(held: Connection) -> Response:
    """Answer 413, and hold a connection as long as FastAPI lets it."""
    return PlainTextResponse("too large", 413)


@app.get("/fastapi/pool")
async def greet(held: Connection) -> Response:
    """Greet, which needs a connection."""
    return PlainTextResponse("hello")


if importlib.util.find_spec("sqlalchemy"):
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import QueuePool

    # Five and ten more, as by default; who finds none waits a second and not thirty.
    engine = create_engine(
        "sqlite://",
        poolclass=QueuePool,
        pool_timeout=1,
        connect_args={"check_same_thread": False},
    )

    def session() -> Iterator[Session]:
        """Open a database session for a request."""
        with Session(engine) as opened:
            yield opened

    @app.post("/fastapi/database")
    def stranger(database: Annotated[Session, Depends(session)]) -> Response:
        """Look the user up and find nobody."""
        database.execute(text("SELECT 1"))
        return PlainTextResponse("who are you?", 401)

    @app.get("/fastapi/database")
    def known(database: Annotated[Session, Depends(session)]) -> Response:
        """Look something up for a user."""
        return PlainTextResponse(str(database.execute(text("SELECT 7")).scalar()))


async def _passed_on(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    return await call_next(request)


async def error_page() -> Response:
    """Answer with a page that GZipMiddleware compresses."""
    return HTMLResponse(PAGE, 413)


def _pages(*, compressed_outside: bool) -> Application:
    """Make an application with ``@app.middleware("http")`` and GZipMiddleware around its page."""
    pages = FastAPI()
    pages.post("/{place}/error")(error_page)
    if not compressed_outside:
        pages.add_middleware(GZipMiddleware)
    pages.middleware("http")(_passed_on)
    if compressed_outside:
        pages.add_middleware(GZipMiddleware)
    return drained_starlette(pages)


application = entry(
    {
        "fastapi": drained_starlette(app),
        "gzip-outside": _pages(compressed_outside=True),
        "gzip-inside": _pages(compressed_outside=False),
    }
)
