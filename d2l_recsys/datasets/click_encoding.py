"""Clicks encoded as feature ids: the arithmetic, in memory or in memory-mapped files made once."""

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

# Changes whenever the same rows would be encoded in another way.
VERSION = 1
FEATURES, LABELS, RECORD = "features.int32", "labels.float32", "encoding.json"
VALUES, COUNTS = "values.txt", "counts.sqlite"  # while they are made
# Rows that are checked at a time.
ROWS_PER_PIECE = 2**14


class Encoding(NamedTuple):
    """Encoded rows and the mapper and defaults they are encoded with.

    ``features`` are int32 (rows, fields) with offsets added, ``labels`` float32 (rows, 1), of
    which ``num_clicks`` are 1.
    """

    features: np.ndarray
    labels: np.ndarray
    num_clicks: int
    feat_mapper: FeatureMap
    defaults: Dict[int, int]


class _Encoder:
    """Makes feature ids of values."""

    def __init__(self, feat_mapper: FeatureMap, defaults: Dict[int, int]) -> None:
        self.feat_mapper, self.defaults = feat_mapper, defaults
        self.offsets = offsets(field_dims(feat_mapper))

    def __call__(self, codes: np.ndarray, values_of: List[List[str]]) -> np.ndarray:
        """Features, int32 (rows, fields), of the codes and values of a chunk."""
        features = np.empty(codes.shape, dtype=np.int32)
        for f, values in enumerate(values_of):
            ids, default = self.feat_mapper[f + 1], self.defaults[f + 1]
            of_code = np.array([ids.get(value, default) for value in values], dtype=np.int64)
            features[:, f] = (of_code + self.offsets[f])[codes[:, f]]
        return features


def field_dims(feat_mapper: FeatureMap) -> np.ndarray:
    """Ids of each field, int64: one a value of its own, and the default."""
    return np.array([len(ids) + 1 for _, ids in sorted(feat_mapper.items())], dtype=np.int64)


def offsets(dims: np.ndarray) -> np.ndarray:
    """Where the ids of each field start in the common table, int64."""
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
    """Encode ``chunks``, with a mapper made from them where none is given."""
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
) -> Encoding:
    """As ``encode_in_memory``, into memory-mapped files in ``folder``, unless they are there.

    ``key`` says what is encoded and how; the same key is encoded once. ``lines`` is how many rows
    there may be, if that is known. The files appear whole or not at all, and a lock lets one
    process at a time make them. Rows left out are in ``skipped`` either way.

    Raises OutputError where there is no room or no permission, DataError where the files from
    before are not whole.
    """
    import filelock

    mapper = None if feat_mapper is None else [feat_mapper, defaults]
    described = json.dumps([VERSION, key, mapper], default=int)
    name = hashlib.sha256(described.encode("utf-8")).hexdigest()[:24]
    target, partial = folder / name, folder / f".{name}.partial"
    if target.exists():
        return _read(target, skipped, num_fields, feat_mapper, defaults)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(str(folder / f".{name}.lock"))
        with waiting_for(lock, "encoding", timeout=-1):
            if not target.exists():
                # What a killed process has left.
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                try:
                    _check_room(folder, lines, num_fields)
                    _encode_into(
                        partial, chunks(), skipped, num_fields, feat_mapper, defaults, min_threshold
                    )
                    os.replace(partial, target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                skipped.clear()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"cannot write {folder}: {error.strerror or error}; make room there or choose another "
            "folder (encoded_dir, $D2L_RECSYS_DATA)"
        ) from error
    return _read(target, skipped, num_fields, feat_mapper, defaults)


def _check_room(folder: pathlib.Path, lines: Optional[int], num_fields: int) -> None:
    needed = (lines or 0) * (num_fields + 1) * 4
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"not enough disk space in {folder}: {needed:,} bytes are needed for the encoded file, "
            f"{free:,} are free; make room or choose another folder (encoded_dir, $D2L_RECSYS_DATA)"
        )


def _encode_into(
    folder: pathlib.Path,
    chunks: Iterable[Chunk],
    skipped: SkippedRows,
    num_fields: int,
    feat_mapper: Optional[FeatureMap],
    defaults: Optional[Dict[int, int]],
    min_threshold: int,
) -> None:
    """Write the files of an encoding.

    Where the mapper is still to be made, the features are first written as the codes of their
    chunk, the chunk's values beside them, and rewritten in place once all values are counted.
    """
    rows: List[int] = []
    clicks: List[int] = []
    made = {}
    with (folder / FEATURES).open("w+b") as features, (folder / LABELS).open("wb") as labels:

        def write(chunk: Chunk, of_rows: np.ndarray) -> None:
            of_rows.tofile(features)
            chunk.labels.tofile(labels)
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
                        # A value holds neither a line's end nor, ever, a NUL.
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
    record = {"rows": sum(rows), "num_clicks": sum(clicks), "skipped": left_out, **made}
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")


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
            raise ValueError("a count is none")
        if not all(type(number) is int and isinstance(reason, str) for number, reason in lines):
            raise ValueError("the rows left out are not told by line and reason")
        if feat_mapper is None:
            feat_mapper, defaults = (
                {field: record[name][str(field)] for field in range(1, num_fields + 1)}
                for name in ("feat_mapper", "defaults")
            )
            for ids in feat_mapper.values():
                # Of 0.0 and False, which equal 0, neither is an id.
                if not {*map(type, ids.values())} <= {int} or [*ids.values()] != [*range(len(ids))]:
                    raise ValueError("the ids of a field are not 0, 1, and so on")
        if not all(defaults[f] == len(feat_mapper[f]) for f in range(1, num_fields + 1)):
            raise ValueError("the defaults are not those of the mapper")
        arrays = []
        for name, dtype, columns in ((FEATURES, "<i4", num_fields), (LABELS, "<f4", 1)):
            if (folder / name).stat().st_size != rows * columns * 4:
                raise ValueError(f"{name} has not {rows} rows")
            shape = rows, columns
            empty = np.empty(shape, dtype)
            arrays.append(np.memmap(folder / name, dtype, "r", shape=shape) if rows else empty)
        _check_arrays(folder, num_clicks, field_dims(feat_mapper))
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{folder} is not a whole encoding ({error}); delete it to have it made again"
        ) from error
    skipped.restore(count, lines)
    return Encoding(*arrays, num_clicks, feat_mapper, defaults)


def _check_arrays(folder: pathlib.Path, num_clicks: int, dims: np.ndarray) -> None:
    """Raise ValueError where a feature is none of its field's or the clicks are not as many.

    A machine that stops leaves files of the right size with zeros in them, which no one would
    notice in training.
    """
    lowest = offsets(dims)
    for features in _pieces(folder / FEATURES, "<i4", len(dims)):
        if (features < lowest).any() or (features >= lowest + dims).any():
            raise ValueError(f"{FEATURES} has what is not a feature")
    clicks = 0
    for labels in _pieces(folder / LABELS, "<f4", 1):
        if not ((labels == 0) | (labels == 1)).all():
            raise ValueError(f"{LABELS} has what is not 0 or 1")
        clicks += int(np.count_nonzero(labels))
    if clicks != num_clicks:
        raise ValueError(f"{LABELS} has not {num_clicks} clicks")


def _pieces(path: pathlib.Path, dtype: str, columns: int) -> Iterator[np.ndarray]:
    """The rows of an array on disk, some at a time, so that they need not fit into memory."""
    with path.open("rb") as file:
        piece = np.fromfile(file, dtype, ROWS_PER_PIECE * columns)
        while len(piece):
            yield piece.reshape(-1, columns)
            piece = np.fromfile(file, dtype, ROWS_PER_PIECE * columns)
