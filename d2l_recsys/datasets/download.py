"""Fetch a data set from the first source that works, completely or not at all."""

import concurrent.futures
import contextlib
import errno
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Sequence, Tuple

from d2l_recsys.errors import DataError, NoSourceError
from d2l_recsys.storage.files import content_of, open_file

if TYPE_CHECKING:
    import filelock


RECORD = "source.json"
ANSWER_SECONDS = 15
# A download must bring at least LEAST_BYTES in each SPAN_SECONDS, and at most MOST_BYTES in total.
# The archives have 2 to 5 MB.
SPAN_SECONDS = 60
LEAST_BYTES = 60_000
MOST_BYTES = 50_000_000
WHEEL_SECONDS = 300
LOCK_SECONDS = 600
PIECE_BYTES = 2**20


class SourceFailedError(Exception):
    """One source failed; the next source may still work."""


@dataclass(frozen=True)
class Source:
    """A source of a data set: an archive, and the files to take from it.

    ``download(url, output_file, pooch)`` is a downloader for the library pooch. ``known_hash`` is
    ``algorithm:digest`` of the archive, as in pooch. ``members`` maps the name of each file to its
    name in the archive.
    """

    name: str
    url: str
    known_hash: str
    members: Mapping[str, str]
    download: Callable[[str, str, object], None]


class _LimitedFile(io.BufferedWriter):
    def write(self, piece: bytes) -> int:
        if self.tell() + len(piece) > MOST_BYTES:
            raise SourceFailedError(f"it sent more than the {MOST_BYTES / 1e6:g} MB allowed")
        return super().write(piece)


def download_url(url: str, output_file: str, pooch: object) -> None:
    """Download a file over HTTP, with a progress bar on a terminal.

    Raises SourceFailedError if the download is too slow or too large, or if it is a web page.
    """
    import pooch as pooch_library

    on_terminal = sys.stderr.isatty()
    get = pooch_library.HTTPDownloader(progressbar=on_terminal, timeout=ANSWER_SECONDS)
    receiving: concurrent.futures.Future = concurrent.futures.Future()
    with _LimitedFile(io.FileIO(output_file, "wb")) as file:

        def receive() -> None:
            try:
                receiving.set_result(get(url, file, pooch))
            except BaseException as error:
                receiving.set_exception(error)

        # A socket timeout does not stop a download of a few bytes at a time, so watch the size
        # here. After an error the file is closed, and the thread ends at its next write.
        threading.Thread(target=receive, daemon=True).start()
        size = 0
        while not concurrent.futures.wait([receiving], timeout=SPAN_SECONDS).done:
            before, size = size, os.path.getsize(output_file)
            if size - before < LEAST_BYTES:
                least = f"{LEAST_BYTES / 1e3:g} kB in {SPAN_SECONDS} s"
                raise SourceFailedError(f"too slow, less than {least}")
        receiving.result()
    with open(output_file, "rb") as received:
        if received.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise SourceFailedError(
                "it sent a web page, perhaps the login page of your network; log in and try again"
            )


def download_wheel(requirement: str, output_file: str, pooch: object) -> None:
    """Download one wheel without its dependencies, with pip and the package index of the user."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(output_file)) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1"]
        # If its cache is on a full disk, pip reports a broken connection, so use no cache.
        command += ["--no-cache-dir", "--disable-pip-version-check", "--only-binary=:all:"]
        command += ["--ignore-requires-python", "--dest", folder, requirement]
        environment = {**os.environ, "TMPDIR": folder}
        returncode, said = _run_within_limits(command, environment, pathlib.Path(folder))
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        wheels = list(pathlib.Path(folder).glob("*.whl"))
        if returncode or len(wheels) != 1:
            error = re.search(r"^error: (.*\S)", said, re.IGNORECASE | re.MULTILINE)
            reason = error[1] if error else "run this command to see why"
            raise SourceFailedError(f"'pip download --no-deps {requirement}' failed: {reason}")
        shutil.move(str(wheels[0]), output_file)


def _run_within_limits(
    command: Sequence[str], environment: Mapping[str, str], folder: pathlib.Path
) -> Tuple[int, str]:
    """Run pip's ``command``, which writes to ``folder``; returns its exit code and what it says.

    Ends the command and raises SourceFailedError if it takes too long or writes too much.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors, subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
    ) as process:
        try:
            ended = False
            while not ended:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.1)
                ended = process.poll() is not None
                if _size(folder) > MOST_BYTES:
                    raise SourceFailedError(
                        f"pip received more than the {MOST_BYTES / 1e6:g} MB allowed"
                    )
                if not ended and time.monotonic() - started > WHEEL_SECONDS:
                    raise SourceFailedError(f"pip had no answer within {WHEEL_SECONDS} s")
        finally:
            process.kill()
        errors.seek(0)
        return process.returncode, errors.read().decode(errors="replace")


def _size(folder: pathlib.Path) -> int:
    """The number of bytes of all files in ``folder``, while another process changes them."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += os.lstat(os.path.join(parent, name)).st_size
    return size


def fetch(sources: Sequence[Source], folder: pathlib.Path, by_hand: str) -> None:
    """Fill ``folder`` from the first source that works. Do nothing if it is already filled.

    The chapter uses the book's ``download_extract`` instead.

    The archive is checked against its known hash before it is opened. The files are unpacked beside
    ``folder`` and appear in it by one rename. With them comes a record (``source.json``), which has
    their source and their SHA-256. A lock lets only one process at a time do this.

    Raises DataError if the folder cannot be written or has other files. Raises NoSourceError if all
    sources fail: the message gives the reason for each source and ends with ``by_hand``, which says
    how to get the files without this function.
    """
    import filelock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(str(folder.parent / f".{folder.name}.lock"))
        with waiting_for(lock, "fetching"):
            if (folder / RECORD).exists():
                return
            if folder.is_dir() and any(folder.iterdir()):
                raise DataError(f"{folder} is not empty but does not have the data; {by_hand}")
            # Remove the folders of killed processes. A living process would still have the lock.
            for left in folder.parent.glob(_temporary(folder) + "*"):
                shutil.rmtree(left, ignore_errors=True)
            failures = []
            for source in sources:
                print(f"fetching {folder} from {source.name}", file=sys.stderr)
                try:
                    _fetch_one(source, folder)
                    return
                except SourceFailedError as reason:
                    failures.append(f"{source.name}: {reason}")
    except filelock.Timeout as error:
        raise DataError(
            f"another process has been fetching {folder} for {LOCK_SECONDS} s; "
            "wait for that process, or end it"
        ) from error
    except OSError as error:
        room = "free some disk space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise DataError(
            f"cannot write {folder}: {error.strerror or error}; "
            f"{room}choose another folder with --data-dir"
        ) from error
    raise NoSourceError(f"no source delivered {folder.name} ({'; '.join(failures)}); {by_hand}")


@contextlib.contextmanager
def waiting_for(
    lock: "filelock.BaseFileLock", work: str, timeout: float = LOCK_SECONDS
) -> Iterator[None]:
    """Hold ``lock``; if another process has it, print a line and wait.

    ``work`` says in this line what the other process does. Raises filelock.Timeout after
    ``timeout`` seconds; -1 means to wait without a limit.
    """
    import filelock

    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        print(f"waiting for another process that is {work}", file=sys.stderr)
        lock.acquire(timeout=timeout)
    try:
        yield
    finally:
        lock.release()


def _temporary(folder: pathlib.Path) -> str:
    return f".{folder.name}.fetch-"


def _fetch_one(source: Source, folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_temporary(folder)) as temporary:
        archive = _download(source, temporary)
        unpacked = pathlib.Path(temporary) / folder.name
        unpacked.mkdir()
        try:
            with zipfile.ZipFile(archive) as opened:
                for name, member in source.members.items():
                    (unpacked / name).write_bytes(opened.read(member))
        except (zipfile.BadZipFile, KeyError) as error:
            raise SourceFailedError(f"its archive cannot be read ({error})") from error
        record = {
            "source": source.name,
            "url": source.url,
            "archive": source.known_hash,
            "sha256": {name: file_digest(unpacked / name) for name in source.members},
        }
        (unpacked / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        os.replace(unpacked, folder)


def _download(source: Source, temporary: str) -> str:
    import pooch
    import requests
    import urllib3

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        path=temporary,
        base_url="",
        registry={"archive": source.known_hash},
        urls={"archive": source.url},
        retry_if_failed=1,
    )
    try:
        return store.fetch("archive", downloader=source.download)
    except requests.exceptions.HTTPError as error:
        raise SourceFailedError(
            f"it answered with HTTP status {error.response.status_code}"
        ) from error
    except requests.exceptions.Timeout as error:
        raise SourceFailedError(f"no answer within {ANSWER_SECONDS} s") from error
    except requests.exceptions.SSLError as error:
        raise SourceFailedError(
            "no secure connection; log in if your network has a login page, or correct the clock"
        ) from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise SourceFailedError("the connection broke off") from error
    except requests.exceptions.RequestException as error:
        if isinstance(next(iter(error.args), None), urllib3.exceptions.ReadTimeoutError):
            raise SourceFailedError(f"it sent nothing more for {ANSWER_SECONDS} s") from error
        raise SourceFailedError("it could not be reached") from error
    except ValueError as error:
        raise SourceFailedError(f"wrong checksum, expected {source.known_hash}") from error


def verify(folder: pathlib.Path) -> dict:
    """Check the files of a fetched folder against its record; returns the record.

    Returns {} if the folder was not fetched. Raises DataError if the record is damaged, or if a
    file is missing or has changed; the message names the file.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    mend = f"delete the folder {folder} to fetch it again"
    try:
        record = json.loads(content_of(path).decode("utf-8"))
        expected = dict(record["sha256"].items())
        named = all(re.fullmatch(r"[\w.+-]{1,99}", name, re.ASCII) for name in expected)
        if not named or not all(re.fullmatch("[0-9a-f]{1,64}", of) for of in expected.values()):
            raise ValueError("it does not have names of files and their SHA-256")
        if not isinstance(record.get("source", ""), str):
            raise ValueError("the source is not text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not a valid record of fetched files; {mend}") from error
    for name, digest in expected.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing; {mend}")
        found = file_digest(folder / name)
        if found != digest:
            raise DataError(
                f"{folder / name} has the wrong checksum: its SHA-256 is {found}, but the fetched "
                f"file had {digest}; {mend}"
            )
    return record


def file_digest(path: pathlib.Path, algorithm: str = "sha256") -> str:
    """Returns the hexadecimal digest of a file of any size; DataError if it cannot be read."""
    digest = hashlib.new(algorithm)
    try:
        with open_file(path) as file:
            for piece in iter(lambda: file.read(PIECE_BYTES), b""):
                digest.update(piece)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; put a readable file there"
        ) from error
    return digest.hexdigest()
