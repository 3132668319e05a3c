"""The servers of ``tests/servers``, for the clients that people use."""

from tests.servers.conftest import fleet

__all__ = ["fleet"]
