"""Read the files of the baseline: a JSON index, and the questions and expected answers."""

import hashlib
import json
import pathlib
from typing import Any, Dict, List, Optional

from d2l_recsys.baseline.ladder import base
from d2l_recsys.baseline.npz import read_npz
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question
from d2l_recsys.errors import DataError

FILES = pathlib.Path(__file__).resolve().parent / "files"
INDEX, SUMS = "baseline.json", "SHA256SUMS"
GIVEN, EXPECTED = ".given.npz", ".expected.npz"
# The version of the layout of the files. The index also has the version of the project.
VERSION = 1
MEND = "get a new copy of the baseline folder"


class Baseline:
    """The baseline in a folder; by default the folder that comes with the package.

    ``index`` is the content of ``baseline.json``: the versions that made the baseline, an entry for
    each question with the tolerance of its answer, checksums of the arrays that come from
    MovieLens-100K, and the final metrics over seeds.

    Raises DataError if the folder has no baseline, has another version, or if a file was changed.
    """

    def __init__(self, folder: Optional[pathlib.Path] = None) -> None:
        self.folder = pathlib.Path(folder or FILES)
        self.sums = self._read_sums()
        index = json.loads(self.content(INDEX))
        if index["version"] != VERSION:
            raise DataError(
                f"{self.folder / INDEX} has version {index['version']}, this program reads version "
                f"{VERSION}; {MEND}"
            )
        self.index: Dict[str, Any] = index

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file ``SHA256SUMS``; it identifies the baseline."""
        return hashlib.sha256((self.folder / SUMS).read_bytes()).hexdigest()

    @property
    def about(self) -> Dict[str, Any]:
        """The version, origin and checksum of the baseline, for reports."""
        made = {name: self.index[name] for name in ("version", "made_by")}
        return {**made, "sha256": self.sha256}

    @property
    def entries(self) -> List[Dict[str, Any]]:
        """The entry of each question in the index."""
        return self.index["questions"]

    def asked(self, variant: str, protocol: str, rung: int) -> List[Dict[str, Any]]:
        """The entries of the questions of a rung about a model or its variant.

        A variant shares the questions of its model, except where it has its own.
        """
        found = {}
        for name in (base(variant), variant):
            for entry in self.entries:
                track, _, what = entry["name"].partition("/")
                of_variant = track in (name, f"{name}-{protocol}")
                if of_variant and entry["rung"] == rung and protocol in entry["protocols"]:
                    found[what] = entry
        return list(found.values())

    def question(self, entry: Dict[str, Any]) -> Question:
        """The question of an entry, with its arrays. Raises DataError if its file was changed."""
        return Question(
            entry["name"],
            entry["rung"],
            entry["kind"],
            entry["model"],
            tuple(entry["protocols"]),
            entry["settings"],
            self._arrays(entry["name"] + GIVEN),
            tuple(entry.get("undecided", ())),
        )

    def expected(self, entry: Dict[str, Any]) -> Arrays:
        """The expected answer to a question of rungs 0 to 5. Raises DataError like ``question``."""
        return self._arrays(entry["name"] + EXPECTED)

    def _arrays(self, name: str) -> Arrays:
        self.content(name)
        return read_npz(self.folder / name)

    def _read_sums(self) -> Dict[str, str]:
        path = self.folder / SUMS
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"there is no baseline in {self.folder}; {MEND}") from error
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def content(self, name: str) -> bytes:
        """The content of a file. Raises DataError if it does not match its checksum."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}; {MEND}") from error
        if hashlib.sha256(content).hexdigest() != self.sums.get(name):
            raise DataError(f"{path} does not match its checksum in {SUMS}; {MEND}")
        return content


def as_index(question: Question, **more: Any) -> Dict[str, Any]:
    """The entry of a question in the index: all its fields except the arrays, and ``more``."""
    left_out = ("given", "undecided")
    entry = {name: value for name, value in question._asdict().items() if name not in left_out}
    return {**entry, "protocols": list(question.protocols), **more}


def checksums(files: Dict[str, bytes]) -> str:
    """The SHA-256 of each file, in the format that ``sha256sum`` prints."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
    )
