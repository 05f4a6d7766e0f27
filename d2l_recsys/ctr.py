"""``CTRDataset``: a file of clicks as an array of feature ids (section 15.8)."""

import gzip
import os
import pathlib
import zlib
from typing import Any, Dict, Iterator, Optional, Tuple, Union

import numpy as np

from d2l_recsys.datasets.click_encoding import encode_in_memory, encode_on_disk, field_dims, offsets
from d2l_recsys.datasets.click_files import (
    SHARES,
    Chunk,
    ClickFile,
    RowLayout,
    SkippedRows,
    book,
    digest,
    file_name,
    read_chunks,
)
from d2l_recsys.datasets.click_vocabulary import FeatureMap
from d2l_recsys.datasets.location import default_data_dir
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.settings import check_settings

__all__ = ["CTRDataset"]

# A file of this many bytes or more is encoded on disk. A .gz file is large if six times its size is
# this many bytes, or if it really unpacks to this many bytes.
LARGE = 2**26
GZIP_RATIO = 6
PIECE_BYTES = 2**20


class CTRDataset:
    """Clicks with categorical fields; each value of each field is a feature.

    Value v of field f (counted from 1) is the feature ``feat_mapper[f][v] + offsets[f - 1]``. So
    all fields share one embedding table of ``sum(field_dims)`` rows. If a value occurs fewer than
    ``min_threshold`` times in the training set, or not at all, its id is ``defaults[f]``.

    Parameters
    ----------
    data_path : a file of clicks, packed with gzip (``.gz``) or not, or a binary file object
    feat_mapper, defaults : for a test set, the feature mapper and the defaults of its training set.
        By default they are made from this file, with the ids in the order of the sorted values
    min_threshold : a value must occur this many times to get its own id
    num_feat : the number of values in a row of the book's layout. A row is the label and the
        values, separated by tabs
    strict : if True, raise DataError for the first row that is not valid, instead of leaving it out
    layout : a layout other than the book's; it also sets the number of fields
    part : ``test`` for every tenth row, ``train`` for all other rows, None for all rows
    encoded_dir : a folder for encoded files. If it is given, the arrays are memory-mapped files in
        this folder, made once for each content of the file. Memory then grows only with the number
        of frequent values, not with the number of rows. A file of 64 MiB or more is always encoded
        in this way, by default in the folder ``encoded`` of ``default_data_dir()``
    quiet : if True, show no progress bar

    ``features`` (int32, rows x fields, offsets added) and ``labels`` (float32, rows x 1) have all
    rows in file order. ``dataset[i]`` is row i of both arrays, ``dataset[i:j]`` is a batch.
    ``field_dims`` and ``offsets`` are int64 arrays with one entry per field. ``num_clicks`` is the
    number of labels that are 1. ``skipped`` has the rows that were left out. ``sha256`` is the
    SHA-256 of the file.

    Raises DataError if the file cannot be read, is empty or has no valid row. Raises SettingError
    if only one of ``feat_mapper`` and ``defaults`` is given, if they have another number of fields,
    or if an option is not valid. Raises OutputError if the encoded files cannot be written.
    """

    def __init__(
        self,
        data_path: ClickFile,
        feat_mapper: Optional[FeatureMap] = None,
        defaults: Optional[Dict[int, int]] = None,
        min_threshold: int = 4,
        num_feat: int = 34,
        strict: bool = False,
        layout: Optional[RowLayout] = None,
        part: Optional[str] = None,
        encoded_dir: Union[str, "os.PathLike[str]", None] = None,
        quiet: bool = True,
    ) -> None:
        check_settings(num_feat=num_feat, min_threshold=min_threshold)
        if part not in SHARES:
            raise SettingError(f"part is {part!r}; choose train, test or None")
        self.layout = layout or book(num_feat)
        self.NUM_FEATS = len(self.layout.fields)
        self._check_mapper(feat_mapper, defaults)
        self.skipped = SkippedRows(file_name(data_path), strict)
        self._source = "" if hasattr(data_path, "read") else os.path.abspath(data_path)
        if encoded_dir is None and _is_large(data_path):
            encoded_dir = default_data_dir() / "encoded"

        def chunks() -> Iterator[Chunk]:
            return read_chunks(data_path, self.layout, self.skipped, part, quiet)

        self.sha256, lines = digest(data_path)
        how = self.NUM_FEATS, feat_mapper, defaults, min_threshold
        if encoded_dir is None:
            encoding = encode_in_memory(chunks(), *how)
        else:
            key = {
                "sha256": self.sha256,
                "layout": self.layout.description,
                "part": part,
                "min_threshold": min_threshold,
            }
            rows = lines and int(lines * SHARES[part])
            encoding = encode_on_disk(
                pathlib.Path(encoded_dir), key, rows, chunks, self.skipped, *how, self._source
            )
        self.features, self.labels, self.num_clicks, self.feat_mapper, self.defaults = encoding
        self.field_dims = field_dims(self.feat_mapper)
        self.offsets = offsets(self.field_dims)
        self.count = len(self.labels)
        if not self.count:
            raise DataError(self._no_row(part, layout))

    def _check_mapper(
        self, feat_mapper: Optional[FeatureMap], defaults: Optional[Dict[int, int]]
    ) -> None:
        if (feat_mapper is None) != (defaults is None):
            raise SettingError(
                "feat_mapper and defaults belong together; give both of the training set, or none"
            )
        for name, given in (("feat_mapper", feat_mapper), ("defaults", defaults)):
            if given is not None and set(given) != set(range(1, self.NUM_FEATS + 1)):
                raise SettingError(
                    f"{name} comes from a file with {len(given)} fields, but this file has "
                    f"{self.NUM_FEATS}; give the one from the training set of this file"
                )

    def _no_row(self, part: Optional[str], layout: Optional[RowLayout]) -> str:
        if not self.skipped.lines:
            return (
                f"{self.skipped.name} has no row in its {part} part; use a file of ten rows or more"
            )
        number, reason = self.skipped.lines[0]
        hint = ", or set num_feat to the number of values in a row" if layout is None else ""
        return (
            f"{self.skipped.name} has no row with a label and {self.NUM_FEATS} values "
            f"(line {number}: {reason}); replace the file{hint}"
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, idx: Any) -> Tuple[np.ndarray, np.ndarray]:
        """Returns the features and the label of row ``idx``, or of a slice of rows."""
        return self.features[idx], self.labels[idx]


def _is_large(data_path: ClickFile) -> bool:
    if hasattr(data_path, "read"):
        return False
    path = pathlib.Path(data_path)
    if not path.is_file():
        return False
    packed = path.suffix == ".gz"
    return path.stat().st_size * (GZIP_RATIO if packed else 1) >= LARGE or (
        packed and _unpacks_to(path, LARGE)
    )


def _unpacks_to(path: pathlib.Path, num_bytes: int) -> bool:
    """Whether a .gz file unpacks to ``num_bytes`` or more; False for a damaged file."""
    try:
        with gzip.open(path) as file:
            while num_bytes > 0:
                read = len(file.read(min(num_bytes, PIECE_BYTES)))
                if not read:
                    return False
                num_bytes -= read
    except (OSError, EOFError, zlib.error):
        return False
    return True
