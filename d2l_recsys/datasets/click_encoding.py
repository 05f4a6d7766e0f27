"""Encode clicks as feature ids, in memory or into memory-mapped files that are made once."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional

import numpy as np

from d2l_recsys.datasets.click_files import Chunk, SkippedRows
from d2l_recsys.datasets.click_vocabulary import FeatureMap, ValueCounts, feature_map
from d2l_recsys.datasets.download import waiting_for
from d2l_recsys.errors import DataError, OutputError

# Increase this number whenever the same rows get another encoding.
VERSION = 1
FEATURES, LABELS, RECORD = "features.int32", "labels.float32", "encoding.json"
VALUES, COUNTS = "values.txt", "counts.sqlite"  # they exist only while an encoding is made
# The number of rows that are checked at once.
ROWS_PER_PIECE = 2**14
# An encoding leaves this many bytes of the disk free, or a twentieth of a smaller disk.
LEAST_FREE = 2**30
UNUSED_DAYS = 30


class Encoding(NamedTuple):
    """Encoded rows, with the feature mapper and the defaults that encode them.

    ``features`` are int32 (rows, fields) with offsets added. ``labels`` are float32 (rows, 1), and
    ``num_clicks`` of them are 1.
    """

    features: np.ndarray
    labels: np.ndarray
    num_clicks: int
    feat_mapper: FeatureMap
    defaults: Dict[int, int]


class _Encoder:
    """Converts the values of a chunk to feature ids."""

    def __init__(self, feat_mapper: FeatureMap, defaults: Dict[int, int]) -> None:
        self.feat_mapper, self.defaults = feat_mapper, defaults
        self.offsets = offsets(field_dims(feat_mapper))

    def __call__(self, codes: np.ndarray, values_of: List[List[str]]) -> np.ndarray:
        """Returns the features of a chunk, int32 (rows, fields), from its codes and values."""
        features = np.empty(codes.shape, dtype=np.int32)
        for f, values in enumerate(values_of):
            ids, default = self.feat_mapper[f + 1], self.defaults[f + 1]
            of_code = np.array([ids.get(value, default) for value in values], dtype=np.int64)
            features[:, f] = (of_code + self.offsets[f])[codes[:, f]]
        return features


def field_dims(feat_mapper: FeatureMap) -> np.ndarray:
    """Returns the number of ids of each field, int64: one per value in the mapper and a default."""
    return np.array([len(ids) + 1 for _, ids in sorted(feat_mapper.items())], dtype=np.int64)


def offsets(dims: np.ndarray) -> np.ndarray:
    """Returns the first id of each field in the common embedding table, int64."""
    return np.concatenate([[0], np.cumsum(dims)[:-1]]).astype(np.int64)


def _count(counts: ValueCounts, chunk: Chunk) -> None:
    for f, values in enumerate(chunk.values):
        counts.add(f, values, np.bincount(chunk.codes[:, f], minlength=len(values)).tolist())


def encode_in_memory(
    chunks: Iterable[Chunk],
    num_fields: int,
    feat_mapper: Optional[FeatureMap],
    defaults: Optional[Dict[int, int]],
    min_threshold: int,
) -> Encoding:
    """Encode ``chunks``; if ``feat_mapper`` is None, make a feature mapper from them."""
    chunks = list(chunks)
    if feat_mapper is None:
        counts = ValueCounts(num_fields)
        for chunk in chunks:
            _count(counts, chunk)
        feat_mapper, defaults = feature_map(counts, num_fields, min_threshold)
    encode = _Encoder(feat_mapper, defaults)
    features = np.concatenate([encode(chunk.codes, chunk.values) for chunk in chunks])
    labels = np.concatenate([chunk.labels for chunk in chunks])[:, None]
    return Encoding(features, labels, int(labels.sum()), feat_mapper, defaults)


def encode_on_disk(
    folder: pathlib.Path,
    key: Dict[str, object],
    lines: Optional[int],
    chunks: Callable[[], Iterable[Chunk]],
    skipped: SkippedRows,
    num_fields: int,
    feat_mapper: Optional[FeatureMap],
    defaults: Optional[Dict[int, int]],
    min_threshold: int,
    source: str = "",
) -> Encoding:
    """Encode into memory-mapped files in ``folder``; use files from before if they exist.

    The encoding is the same as that of ``encode_in_memory``. ``key`` describes the data and the way
    to encode it; each key is encoded once. ``lines`` is the expected number of rows, for which the
    disk must have space, or None if it is unknown. The files appear completely or not at all, and a
    lock lets only one process at a time make them. In all cases ``skipped`` gets the rows that were
    left out. ``source`` is the path of the encoded file, for ``prune``.

    Raises OutputError if there is no disk space or no permission, and DataError if the files from
    before are not complete.
    """
    import filelock

    mapper = None if feat_mapper is None else [feat_mapper, defaults]
    described = json.dumps([VERSION, key, mapper], default=int)
    name = hashlib.sha256(described.encode("utf-8")).hexdigest()[:24]
    target, partial = folder / name, folder / f".{name}.partial"
    if target.exists():
        # The time of its last use, for ``prune``.
        with contextlib.suppress(OSError):
            os.utime(target / RECORD)
        return _read(target, skipped, num_fields, feat_mapper, defaults)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(str(folder / f".{name}.lock"))
        with waiting_for(lock, "encoding", timeout=-1):
            if not target.exists():
                # Remove the files of a killed process.
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                try:
                    _check_room(folder, lines, num_fields)
                    how = num_fields, feat_mapper, defaults, min_threshold, source
                    _encode_into(partial, chunks(), skipped, *how)
                    os.replace(partial, target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                skipped.clear()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"cannot write {folder}: {error.strerror or error}; free some disk space or choose "
            "another folder (encoded_dir, $D2L_RECSYS_DATA)"
        ) from error
    return _read(target, skipped, num_fields, feat_mapper, defaults)


def _check_room(folder: pathlib.Path, lines: Optional[int], num_fields: int) -> None:
    needed = (lines or 0) * (num_fields + 1) * 4
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"not enough disk space in {folder}: the encoded file needs {needed:,} bytes, but only "
            f"{free:,} are available; free some disk space or choose another folder (encoded_dir, "
            "$D2L_RECSYS_DATA)"
        )


def _keep_room(folder: pathlib.Path) -> None:
    """Raise OutputError if the disk is nearly full: a packed file can be very large unpacked."""
    disk = shutil.disk_usage(folder)
    if disk.free < min(LEAST_FREE, disk.total // 20):
        raise OutputError(
            f"{folder}: the encoded rows do not fit on the disk, which is nearly full; free some "
            "disk space or choose another folder (encoded_dir, $D2L_RECSYS_DATA)"
        )


def _encode_into(
    folder: pathlib.Path,
    chunks: Iterable[Chunk],
    skipped: SkippedRows,
    num_fields: int,
    feat_mapper: Optional[FeatureMap],
    defaults: Optional[Dict[int, int]],
    min_threshold: int,
    source: str,
) -> None:
    """Write the files of an encoding.

    If there is no feature mapper yet, it is made in a first pass over the chunks: this pass counts
    all values, writes the codes of each chunk in place of the features, and writes the values of
    each chunk to another file. A second pass then replaces the codes by the features.
    """
    rows: List[int] = []
    clicks: List[int] = []
    made = {}
    with (folder / FEATURES).open("w+b") as features, (folder / LABELS).open("wb") as labels:

        def write(chunk: Chunk, of_rows: np.ndarray) -> None:
            of_rows.tofile(features)
            chunk.labels.tofile(labels)
            _keep_room(folder)
            rows.append(len(chunk.labels))
            clicks.append(int(chunk.labels.sum()))

        if feat_mapper is not None:
            encode = _Encoder(feat_mapper, defaults)
            for chunk in chunks:
                write(chunk, encode(chunk.codes, chunk.values))
        else:
            counts = ValueCounts(num_fields, folder / COUNTS)
            try:
                with (folder / VALUES).open("w", encoding="utf-8", newline="\n") as spool:
                    for chunk in chunks:
                        write(chunk, chunk.codes)
                        # A value never has a line end or a NUL, so these can separate the values.
                        spool.writelines("\0".join(values) + "\n" for values in chunk.values)
                        _count(counts, chunk)
                feat_mapper, defaults = feature_map(counts, num_fields, min_threshold)
            finally:
                counts.close()
            made = {"feat_mapper": feat_mapper, "defaults": defaults}
            encode = _Encoder(feat_mapper, defaults)
            features.seek(0)
            with (folder / VALUES).open(encoding="utf-8", newline="\n") as spool:
                for n in rows:
                    values = [spool.readline()[:-1].split("\0") for _ in range(num_fields)]
                    position = features.tell()
                    codes = np.fromfile(features, np.int32, n * num_fields)
                    features.seek(position)
                    encode(codes.reshape(n, num_fields), values).tofile(features)
            (folder / VALUES).unlink()
            (folder / COUNTS).unlink(missing_ok=True)
    left_out = [skipped.count, skipped.lines]
    record = {
        "rows": sum(rows),
        "num_clicks": sum(clicks),
        "skipped": left_out,
        "source": source,
        **made,
    }
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")


class Pruned(NamedTuple):
    """A deleted encoding: its folder, its size in bytes, and why it was deleted."""

    folder: pathlib.Path
    size: int
    reason: str


def prune(folder: pathlib.Path, now: float) -> List[Pruned]:
    """Delete the encodings in ``folder`` whose source is gone, or that nobody has used for long.

    Long is ``UNUSED_DAYS``. ``now`` is the time in seconds since 1970. An encoding can be made
    again. Returns what was deleted. Raises OutputError if a folder cannot be deleted.
    """
    found = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            source = json.loads(path.read_text(encoding="utf-8")).get("source")
        except (OSError, ValueError, AttributeError):
            source = None
        days = (now - path.stat().st_mtime) / (24 * 3600)
        if source and not os.path.exists(source):
            reason = f"{source} is gone"
        elif days > UNUSED_DAYS:
            reason = f"not used for {days:.0f} days"
        else:
            continue
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        try:
            shutil.rmtree(path.parent)
        except OSError as error:
            raise OutputError(
                f"{path.parent} cannot be deleted: {error.strerror or error}; delete it by hand"
            ) from error
        found.append(Pruned(path.parent, size, reason))
    return found


def _read(
    folder: pathlib.Path,
    skipped: SkippedRows,
    num_fields: int,
    feat_mapper: Optional[FeatureMap],
    defaults: Optional[Dict[int, int]],
) -> Encoding:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        rows, num_clicks = record["rows"], record["num_clicks"]
        count, lines = record["skipped"]
        if not all(type(n) is int and n >= 0 for n in (rows, num_clicks, count)):
            raise ValueError("a count is not a whole number from 0")
        if not all(type(number) is int and isinstance(reason, str) for number, reason in lines):
            raise ValueError("a row left out has no line number or no reason")
        if feat_mapper is None:
            feat_mapper, defaults = (
                {field: record[name][str(field)] for field in range(1, num_fields + 1)}
                for name in ("feat_mapper", "defaults")
            )
            for ids in feat_mapper.values():
                # 0.0 and False are equal to 0, but they are not ids.
                if not {*map(type, ids.values())} <= {int} or [*ids.values()] != [*range(len(ids))]:
                    raise ValueError("the ids of a field are not 0, 1, 2, ...")
        if not all(defaults[f] == len(feat_mapper[f]) for f in range(1, num_fields + 1)):
            raise ValueError("the defaults do not fit the feature mapper")
        arrays = []
        for name, dtype, columns in ((FEATURES, "<i4", num_fields), (LABELS, "<f4", 1)):
            if (folder / name).stat().st_size != rows * columns * 4:
                raise ValueError(f"{name} does not have {rows} rows")
            shape = rows, columns
            empty = np.empty(shape, dtype)
            arrays.append(np.memmap(folder / name, dtype, "r", shape=shape) if rows else empty)
        _check_arrays(folder, num_clicks, field_dims(feat_mapper))
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{folder} is not a complete encoding ({error}); delete this folder to make it again"
        ) from error
    skipped.restore(count, lines)
    return Encoding(*arrays, num_clicks, feat_mapper, defaults)


def _check_arrays(folder: pathlib.Path, num_clicks: int, dims: np.ndarray) -> None:
    """Raises ValueError if a feature is not an id of its field, or the number of clicks is wrong.

    After a crash of the machine, files can have the right size but contain zeros. Training would
    not notice this.
    """
    lowest = offsets(dims)
    for features in _pieces(folder / FEATURES, "<i4", len(dims)):
        if (features < lowest).any() or (features >= lowest + dims).any():
            raise ValueError(f"{FEATURES} has an id that is not in its field")
    clicks = 0
    for labels in _pieces(folder / LABELS, "<f4", 1):
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError(f"{LABELS} has a value that is not 0 or 1")
        clicks += int(np.count_nonzero(labels))
    if clicks != num_clicks:
        raise ValueError(f"{LABELS} does not have {num_clicks} clicks")


def _pieces(path: pathlib.Path, dtype: str, columns: int) -> Iterator[np.ndarray]:
    """Yields the rows of an array on disk in pieces, so that the array need not fit into memory."""
    with path.open("rb") as file:
        piece = np.fromfile(file, dtype, ROWS_PER_PIECE * columns)
        while len(piece):
            yield piece.reshape(-1, columns)
            piece = np.fromfile(file, dtype, ROWS_PER_PIECE * columns)
