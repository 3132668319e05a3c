"""Bodies that are made or read a part at a time.

Rule: no more of a body is in memory than the part that was asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ._values import PATTERN, check_count, in_bytes, repeated


@dataclass(frozen=True, slots=True)
class FileBody:
    """A body that is a file's content, read as it is sent.

    Attributes:
        path: Where the file is.
        size_bytes: How long it was when it was looked at.
    """

    path: str
    size_bytes: int

    @classmethod
    def of(cls, path: str) -> FileBody:
        """Return the body that a file is now.

        Raises:
            OSError: It cannot be read.
        """
        with open(path, "rb") as file:
            return cls(path, os.fstat(file.fileno()).st_size)

    def slice(self, start: int, length: int) -> bytes:
        """Return a part of the file.

        Args:
            start: The offset of its first byte.
            length: How many bytes; fewer come back where the body ends.

        Raises:
            OSError: The file cannot be read, or has become shorter.
        """
        length = min(length, self.size_bytes - start)
        with open(self.path, "rb") as file:
            file.seek(start)
            data = file.read(length)
        if len(data) < length:
            raise OSError(
                f"{self.path} had {in_bytes(self.size_bytes)} and now ends after "
                f"{start + len(data)}; "
                "let nobody write to it meanwhile"
            )
        return data


@dataclass(frozen=True, slots=True)
class FormBody:
    """A multipart form with one file in it, as a browser sends it (RFC 7578).

    Attributes:
        size_bytes: The length of the whole body; the file is what the form leaves of it.
        field: The name of the file field.
        file_name: The name of the file.
        boundary: What separates the parts.
    """

    size_bytes: int
    field: str = "file"
    file_name: str = "probe.bin"
    boundary: str = "----drainkit5a7c01e9f3b2"

    def __post_init__(self) -> None:
        """Refuse what no form can be."""
        if any(character in self.field + self.file_name for character in '"\r\n'):
            raise ValueError(
                "field and file_name must be without quotes and line ends; got "
                f"{self.field!r} and {self.file_name!r}"
            )
        check_count("size_bytes", self.size_bytes, least=len(self._before) + len(self._after))

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def _before(self) -> bytes:
        return (
            f"--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="{self.field}"; filename="{self.file_name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()

    @property
    def _after(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()

    def slice(self, start: int, length: int) -> bytes:
        """Return a part of the form.

        Args:
            start: The offset of its first byte.
            length: How many bytes; fewer come back where the body ends.
        """
        before, after = self._before, self._after
        end = min(start + length, self.size_bytes)
        file_end = self.size_bytes - len(after)
        parts = [before[start:end]]
        first, last = max(start, len(before)), min(end, file_end)
        if first < last:
            parts.append(repeated(PATTERN, first - len(before), last - first))
        if end > file_end:
            parts.append(after[max(start - file_end, 0) : end - file_end])
        return b"".join(parts)
