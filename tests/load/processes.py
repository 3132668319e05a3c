"""What the kernel knows of a server's processes."""

import resource
from dataclasses import dataclass
from pathlib import Path


class LimitError(RuntimeError):
    """The machine does not allow what the measurement needs."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group of processes uses.

    Attributes:
        memory_kib: The proportional set size: a page shared by two processes counts half in each.
        descriptors: Open file descriptors.
        threads: Threads.
    """

    memory_kib: int
    descriptors: int
    threads: int


def usage(group: int) -> Usage:
    """Return what the processes of a group use now.

    Args:
        group: The id of the process group.
    """
    memory = descriptors = threads = 0
    for folder in _members(group):
        try:
            memory += _number(folder / "smaps_rollup", "Pss:")
            threads += _number(folder / "status", "Threads:")
            descriptors += len(list((folder / "fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return Usage(memory, descriptors, threads)


def allow_descriptors(needed: int) -> None:
    """Raise this process's limit of open files, and so that of the servers it starts.

    Raises:
        LimitError: The machine does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise LimitError(
                f"this needs {needed} open files in one process, and the machine allows {hard}: "
                f"raise the hard limit (ulimit -Hn {needed} as root), or ask for fewer --clients"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _members(group: int) -> list[Path]:
    members = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(folder)
    return members


def _number(file: Path, label: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    return 0
