"""``CTRDataset``: a file of clicks as one array of feature ids (section 15.8)."""

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

# A file of this many bytes is encoded on disk; of a .gz file, which is smaller, a sixth of them, or
# fewer where so many are packed in it.
LARGE = 2**26
GZIP_RATIO = 6
PIECE_BYTES = 2**20


class CTRDataset:
    """Clicks with categorical features, each value of each field a feature of its own.

    Value v of field f (from 1) is the feature ``feat_mapper[f][v] + offsets[f - 1]``, so that all
    fields share one embedding table of ``sum(field_dims)`` rows. A value seen fewer than
    ``min_threshold`` times, or not at all, has the id ``defaults[f]`` in place of one of its own.

    Parameters
    ----------
    data_path : a file of clicks, ``.gz`` or not, or a binary file object
    feat_mapper, defaults : those of the training set, for its test set; by default they are made
        from this file, with the ids in the order of the sorted values
    min_threshold : how often a value has to occur to have an id of its own
    num_feat : fields of a row in the book's layout: the label, then its values, separated by tabs
    strict : raise DataError for the first row that is not a click, instead of leaving it out
    layout : another layout than the book's; it says how many fields there are
    part : ``test`` for every tenth row, ``train`` for the others, None for all
    encoded_dir : a folder for encoded files. With it, the arrays are memory-mapped files there,
        made once for a content of the file, in memory that does not grow with the number of rows
        (only with that of frequent values). A file of 64 MiB or more is encoded so in any case,
        by default in the folder ``encoded`` of ``default_data_dir()``
    quiet : show no progress bar

    ``features`` (int32, rows x fields, offsets added) and ``labels`` (float32, rows x 1) hold all
    rows in file order; ``dataset[i]`` is row i of both, ``dataset[i:j]`` a batch. ``field_dims``
    and ``offsets`` are int64 arrays over the fields, ``num_clicks`` counts the labels that are 1,
    ``skipped`` tells which rows were left out, ``sha256`` is the file's.

    Raises DataError for a file that cannot be read, is empty or has no valid row, SettingError for
    a mapper without defaults or of another number of fields, and OutputError where the encoded
    files cannot be written.
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
                pathlib.Path(encoded_dir), key, rows, chunks, self.skipped, *how
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
                    f"{name} is of a file with {len(given)} fields, this one has "
                    f"{self.NUM_FEATS}; give those of its own training set"
                )

    def _no_row(self, part: Optional[str], layout: Optional[RowLayout]) -> str:
        if not self.skipped.lines:
            return f"{self.skipped.name} is too short for a {part} part; give it ten rows or more"
        number, reason = self.skipped.lines[0]
        hint = ", or set num_feat to its number of values" if layout is None else ""
        return (
            f"{self.skipped.name} has no row of a label and {self.NUM_FEATS} values "
            f"(line {number}: {reason}); replace it{hint}"
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, idx: Any) -> Tuple[np.ndarray, np.ndarray]:
        """Features and label of row ``idx``, or of a slice of rows."""
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
    """Whether a .gz file holds so many bytes or more; what is damaged is told when it is read."""
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
