"""The cases that drainkit is held to, for whoever writes an adapter or a server.

Three parts, each of use without the others:

- `wsgi_application` and `asgi_application` make an application that answers by the path alone and
  leaves most uploads unread. Serve it, with your adapter around it and without.
- `CASES` says what is uploaded to it and which answer is right.
- `judge` uploads a case a few times and says what came of it.

Standard library and `drainkit_clients` only; nothing of drainkit is imported, so that a server can
be held to the cases without it.
"""

from ._asgi import asgi_application
from ._cases import CASES, Case, page, page_pieces
from ._judge import TIMEOUT_SECONDS, TRIES, Client, Try, Verdict, judge
from ._wsgi import body_pieces, wsgi_application

__all__ = [
    "CASES",
    "TIMEOUT_SECONDS",
    "TRIES",
    "Case",
    "Client",
    "Try",
    "Verdict",
    "asgi_application",
    "body_pieces",
    "judge",
    "page",
    "page_pieces",
    "wsgi_application",
]
