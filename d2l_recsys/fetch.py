"""Get a data set from the first of several sources that answers, whole or not at all."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Sequence

from d2l_recsys.errors import DataError, NoSourceError

if TYPE_CHECKING:
    import filelock

__all__ = [
    "RECORD",
    "Source",
    "download_url",
    "download_wheel",
    "fetch",
    "file_digest",
    "verify",
    "waiting_for",
]

RECORD = "source.json"
ANSWER_SECONDS = 15
WHEEL_SECONDS = 300
LOCK_SECONDS = 600
PIECE_BYTES = 2**20


class SourceFailedError(Exception):
    """One source did not deliver; the next one may."""


@dataclass(frozen=True)
class Source:
    """An archive and the files to take from it.

    ``download(url, output_file, pooch)`` is called as pooch calls its downloaders; ``known_hash``
    is pooch's ``algorithm:digest`` of the archive; ``members`` maps the name a file gets to its
    name in the archive.
    """

    name: str
    url: str
    known_hash: str
    members: Mapping[str, str]
    download: Callable[[str, str, object], None]


def download_url(url: str, output_file: str, pooch: object) -> None:
    """Download over HTTP, with a progress bar on a terminal."""
    import pooch as pooch_library

    on_terminal = sys.stderr.isatty()
    get = pooch_library.HTTPDownloader(progressbar=on_terminal, timeout=ANSWER_SECONDS)
    get(url, output_file, pooch)


def download_wheel(requirement: str, output_file: str, pooch: object) -> None:
    """Download one wheel without its dependencies, through pip and the index the user has set."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(output_file)) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1"]
        command += [
            "--only-binary=:all:",
            "--ignore-requires-python",
            "--dest",
            folder,
            requirement,
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=WHEEL_SECONDS)
        except subprocess.TimeoutExpired:
            raise SourceFailedError(f"pip had no answer within {WHEEL_SECONDS} s") from None
        wheels = list(pathlib.Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise SourceFailedError(f"'pip download --no-deps {requirement}' failed")
        shutil.move(str(wheels[0]), output_file)


def fetch(sources: Sequence[Source], folder: pathlib.Path, by_hand: str) -> None:
    """Fill ``folder`` from the first source that delivers; nothing to do where it is filled.

    The archive is checked against its known hash before it is opened, the files are unpacked
    beside ``folder`` and appear in it by one rename, together with a record (``source.json``) of
    where they came from and of their SHA-256. A lock lets one process at a time do this.

    Raises DataError where the folder cannot be written, and NoSourceError where every source
    failed: the message names each with its reason, and ends with ``by_hand``.
    """
    import filelock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(str(folder.parent / f".{folder.name}.lock"))
        with waiting_for(lock, "fetching"):
            if (folder / RECORD).exists():
                return
            if folder.is_dir() and any(folder.iterdir()):
                raise DataError(f"{folder} is not empty but lacks the data; {by_hand}")
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
            "wait for it or end it"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot write {folder}: {error.strerror or error}; choose another with --data-dir"
        ) from error
    raise NoSourceError(f"no source of {folder.name} answered ({'; '.join(failures)}); {by_hand}")


@contextlib.contextmanager
def waiting_for(
    lock: "filelock.BaseFileLock", work: str, timeout: float = LOCK_SECONDS
) -> Iterator[None]:
    """Hold ``lock``, which another process may have for the same ``work``; say so while waiting.

    Raises filelock.Timeout after ``timeout`` seconds; -1 waits as long as it takes.
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


def _fetch_one(source: Source, folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(dir=str(folder.parent), prefix=".fetch-") as temporary:
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
        raise SourceFailedError(f"it answered {error.response.status_code}") from error
    except requests.exceptions.Timeout as error:
        raise SourceFailedError(f"no answer within {ANSWER_SECONDS} s") from error
    except requests.exceptions.RequestException as error:
        raise SourceFailedError("it could not be reached") from error
    except ValueError as error:
        raise SourceFailedError(f"wrong checksum, expected {source.known_hash}") from error


def verify(folder: pathlib.Path) -> dict:
    """The record of a fetched folder, after checking its files against it; {} for any other folder.

    Raises DataError naming the first file that is missing or no longer what was fetched.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    mend = f"delete the folder {folder} to have it fetched again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        expected = dict(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a record of fetched files; {mend}") from error
    for name, digest in expected.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing; {mend}")
        found = file_digest(folder / name)
        if found != digest:
            raise DataError(
                f"{folder / name} has the wrong checksum: SHA-256 {found}, but it was fetched as "
                f"{digest}; {mend}"
            )
    return record


def file_digest(path: pathlib.Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file of any size. Raises DataError where it cannot be read."""
    digest = hashlib.new(algorithm)
    try:
        with path.open("rb") as file:
            for piece in iter(lambda: file.read(PIECE_BYTES), b""):
                digest.update(piece)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
