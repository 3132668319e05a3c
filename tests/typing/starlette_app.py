"""`drainkit_starlette` as a type checker sees it."""

from typing import assert_type

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from drainkit import DrainPolicy, DrainReport
from drainkit_starlette import DrainMiddleware, PlacementWarning, init_app


def told(report: DrainReport) -> None:
    """Take a report."""


assert_type(init_app(Starlette()), Starlette)
assert_type(init_app(FastAPI(), DrainPolicy(max_seconds=5), on_report=told), FastAPI)

app = FastAPI()
app.add_middleware(DrainMiddleware)
app.add_middleware(DrainMiddleware, policy=DrainPolicy(max_bytes=None), on_report=told)
Starlette(middleware=[Middleware(DrainMiddleware, DrainPolicy(), on_report=told)])
category: type[Warning] = PlacementWarning

app.add_middleware(DrainMiddleware, max_bytes=1, idle_seconds=2.5)
assert_type(init_app(Starlette(), max_bytes=None), Starlette)

init_app(Starlette(), max_byte=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
init_app(Starlette(), max_bytes="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
init_app(DrainMiddleware)  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
