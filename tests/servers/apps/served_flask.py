"""A Flask application for real servers; see ``served_wsgi`` for the environment variables."""

import os

import served_parts as parts
from flask import Flask, redirect, request
from werkzeug.wrappers import Response

application = Flask(__name__)
application.config["MAX_CONTENT_LENGTH"] = 1024 * 1024


@application.get("/ready")
def ready() -> bytes:
    return parts.READY


@application.post("/redirect")
def to_login() -> Response:
    return redirect("/ready")


@application.post("/form")
def form() -> str:
    return f"{len(request.form)} fields"


@application.post("/raise")
def fail() -> str:
    raise RuntimeError("raised before reading, as the test asked")


if os.environ.get("DRAINKIT_TEST_WRAP") == "1":
    from drainkit import DrainPolicy
    from drainkit_flask import init_app

    init_app(application, DrainPolicy(**parts.policy_fields()), on_report=parts.keep_report)
