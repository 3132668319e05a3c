"""Raw-socket HTTP/1.1 clients that show what an early response does to an upload.

Three ways of uploading, each the extreme of what real clients do:

- ``strict`` writes the whole request and only then reads, as browsers and ``http.client`` do. Any
  error while it writes loses the response.
- ``eager`` reads while it writes, as curl, undici and aiohttp do.
- ``slow`` sends a byte now and then, or nothing, and tells when the server closed the connection.

Each returns an ``Answer``. An answer that breaks the rules of HTTP is refused as strictly as h11
does; ``Answer.malformed`` says which rule, and is ``NOT_HTTP`` where no HTTP/1 is spoken at all.
Standard library only; nothing of drainkit is imported.
"""

from ._body import FileBody, FormBody
from ._connection import Connection, eager, slow, strict, unreachable
from ._fields import NOT_HTTP
from ._values import (
    Answer,
    Body,
    Ended,
    Rest,
    Upload,
    check_count,
    check_positive,
    is_count,
)

__all__ = [
    "NOT_HTTP",
    "Answer",
    "Body",
    "Connection",
    "Ended",
    "FileBody",
    "FormBody",
    "Rest",
    "Upload",
    "check_count",
    "check_positive",
    "eager",
    "is_count",
    "slow",
    "strict",
    "unreachable",
]
