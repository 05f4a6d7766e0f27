"""Only one process at a time writes to a folder."""

import contextlib
import os
import pathlib
from typing import Iterator

from d2l_recsys.errors import OutputError
from d2l_recsys.storage.files import PARTIAL, prepare_folder

LOCK = ".lock"


@contextlib.contextmanager
def alone_in(folder: pathlib.Path, option: str = "--out") -> Iterator[None]:
    """Make ``folder`` and lock it, so that no other process writes to it while this context runs.

    ``option`` is the option that names the folder. Raises OutputError if the folder cannot be made
    or written, or if another process holds the lock; the message names this process.
    """
    import filelock

    prepare_folder(folder)
    path = folder / LOCK
    lock = filelock.FileLock(str(path))
    try:
        lock.acquire(timeout=0)
        # The process before deletes its lock, so a lock without a file is not the one that the next
        # process will ask for.
        while not path.exists():
            lock.release()
            lock.acquire(timeout=0)
    except filelock.Timeout:
        raise _in_use(folder, option) from None
    try:
        path.write_text(f"{os.getpid()}\n")
        # Remove the files of a process that was killed while it wrote them.
        for leftover in folder.glob(f".*{PARTIAL}"):
            leftover.unlink()
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def refuse_if_in_use(folder: pathlib.Path) -> None:
    """Raise what ``alone_in`` raises, if another process holds the lock of ``folder``."""
    if (folder / LOCK).exists():
        with alone_in(folder):
            pass


def _in_use(folder: pathlib.Path, option: str) -> OutputError:
    try:
        number = (folder / LOCK).read_text().strip()
    except OSError:
        number = ""
    process = f"process {number}" if number.isdigit() else "another process"
    return OutputError(
        f"{process} is writing to {folder}; wait until it ends, or choose another folder with "
        f"{option}"
    )
