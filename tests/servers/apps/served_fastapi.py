"""A FastAPI application for real servers; see ``served_places`` for the environment variables."""

import served_parts as parts
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse
from served_places import drained, options

application: FastAPI = drained(FastAPI(**options()))


@application.get("/ready", response_class=PlainTextResponse)
async def ready() -> str:
    return parts.READY.decode()


@application.post("/redirect")
async def to_login() -> RedirectResponse:
    return RedirectResponse("/ready", 303)


@application.post("/read", response_class=PlainTextResponse)
async def read(request: Request) -> str:
    return str(len(await request.body()))


@application.post("/raise")
async def fail() -> None:
    raise RuntimeError("raised before reading, as the test asked")


@application.post("/page", response_class=PlainTextResponse, status_code=413)
async def page() -> str:
    return parts.page().decode()
