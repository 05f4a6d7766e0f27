import hashlib
import http.server
import io
import multiprocessing
import pathlib
import threading
import time
import zipfile

import pytest

from d2l_recsys import data as data_module
from d2l_recsys.errors import DataError
from d2l_recsys.fetch import RECORD, Source, download_url, download_wheel, fetch, verify

CONTENT = {"u.data": b"1\t1\t3\t0\n", "u.item": b"1|x\n"}


def archive(members=CONTENT):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in members.items():
            opened.writestr(f"ml-100k/{name}", content)
    return buffer.getvalue()


ARCHIVE = archive()
PAGES = {
    "/good.zip": (200, ARCHIVE),
    "/slow.zip": (200, ARCHIVE),
    "/portal.zip": (200, b"<html>please log in</html>"),
    "/partial.zip": (200, archive({"u.data": b"1\t1\t3\t0\n"})),
    "/broken.zip": (500, b"no"),
}


@pytest.fixture
def server():
    """A real HTTP server on the loopback; ``server.asked`` lists the paths it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            if self.path == "/slow.zip":
                time.sleep(2)
            status, body = PAGES.get(self.path, (404, b"not here"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


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
    partial = source(server, "partial.zip", PAGES["/partial.zip"][1])
    bad = [source(server, "portal.zip"), partial, source(server, "absent.zip")]
    fetch([*bad, source(server, "good.zip")], tmp_path / "ml-100k", "by hand")
    assert verify(tmp_path / "ml-100k")["source"] == "good.zip"
    assert list(dict.fromkeys(server.asked)) == [
    "/portal.zip", "/partial.zip", "/absent.zip", "/good.zip"]  # fmt: skip


def test_when_all_fail_each_is_named_with_its_reason_and_nothing_is_left(server, tmp_path):
    closed = Source("closed", "http://127.0.0.1:9/x.zip", "sha1:0", {}, download_url)
    partial = source(server, "partial.zip", PAGES["/partial.zip"][1])
    pages = [source(server, page) for page in ("portal.zip", "absent.zip", "broken.zip")]
    with pytest.raises(DataError) as caught:
        fetch([*pages, partial, closed], tmp_path / "ml-100k", "put u.data into HERE")
    message = str(caught.value)
    for reason in (
        "portal.zip: wrong checksum, expected sha1:",
        "absent.zip: it answered 404",
        "broken.zip: it answered 500",
        "partial.zip: its archive cannot be read",
        "closed: it could not be reached",
        "put u.data into HERE",
    ):
        assert reason in message
    assert left_in(tmp_path) == []


def test_a_folder_with_other_files_is_not_overwritten(server, tmp_path):
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty but lacks the data; by hand"):
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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "u.data").write_bytes(b"1\t1\t4\t0\n"), r"u\.data has the wrong"),
        (lambda folder: (folder / "u.item").unlink(), r"u\.item is missing"),
        (lambda folder: (folder / RECORD).write_text("[]"), "is not a record"),
        (lambda folder: (folder / RECORD).write_text("{"), "is not a record"),
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
    monkeypatch.setattr(data_module, "ML100K_SOURCES", [source(server, "good.zip")])
    location = data_module.find_ml100k(tmp_path)
    assert location.ratings == tmp_path / "ml-100k" / "u.data"
    assert location.record["source"] == "good.zip"


def test_a_wheel_that_no_index_has_is_a_failed_source(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    absent = Source("index", "recbole==0.0.0", "sha256:0", {}, download_wheel)
    with pytest.raises(DataError, match=r"index: 'pip download --no-deps recbole==0\.0\.0' failed"):
        fetch([absent], tmp_path / "ml-100k", "by hand")
    assert left_in(tmp_path) == []


@pytest.mark.network
def test_the_record_of_the_real_data_agrees_with_the_published_checksums(ml100k_dir):
    lines = (pathlib.Path(__file__).parent.parent / "data" / "SHA256SUMS").read_text().splitlines()
    published = {name: digest for digest, name in (line.split() for line in lines)}
    location = data_module.find_ml100k(ml100k_dir)
    assert published["u.data"] == data_module.U_DATA_SHA256
    for name, digest in (location.record or {"sha256": {}})["sha256"].items():
        if name in published:
            assert digest == published[name]
    assert location.layout.ratings in published
