"""The baseline on disk: an index in JSON, the questions and the expected answers as ``.npz``."""

import hashlib
import json
import pathlib
from typing import Any, Dict, List, Optional

from d2l_recsys.baseline.npz import read_npz
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question
from d2l_recsys.errors import DataError

FILES = pathlib.Path(__file__).resolve().parent / "files"
INDEX, SUMS = "baseline.json", "SHA256SUMS"
# Of the layout; the index names that of the project as well.
VERSION = 1
MEND = "take the baseline's folder anew"


class Baseline:
    """The baseline in a folder, by default the one that comes with the package.

    ``index`` is its JSON: what it was made with, an entry for each question with the tolerance of
    its answer, checksums of what MovieLens-100K becomes, and final numbers over seeds.

    Raises DataError where the folder has none, one of another version, or one that was changed.
    """

    def __init__(self, folder: Optional[pathlib.Path] = None) -> None:
        self.folder = pathlib.Path(folder or FILES)
        self._sums = self._read_sums()
        index = json.loads(self._checked(INDEX))
        if index["version"] != VERSION:
            raise DataError(
                f"{self.folder / INDEX} has version {index['version']}, this program reads "
                f"{VERSION}; {MEND}"
            )
        self.index: Dict[str, Any] = index

    @property
    def sha256(self) -> str:
        """The checksum of the checksums: which baseline this is."""
        return hashlib.sha256((self.folder / SUMS).read_bytes()).hexdigest()

    @property
    def about(self) -> Dict[str, Any]:
        """What a report says of the baseline."""
        made = {name: self.index[name] for name in ("version", "made_by")}
        return {**made, "sha256": self.sha256}

    @property
    def entries(self) -> List[Dict[str, Any]]:
        """What the index says of each question."""
        return self.index["questions"]

    def question(self, entry: Dict[str, Any]) -> Question:
        """A question with its arrays."""
        return Question(
            entry["name"],
            entry["rung"],
            entry["kind"],
            entry["model"],
            tuple(entry["protocols"]),
            entry["settings"],
            self._arrays(entry["name"] + ".given.npz"),
        )

    def expected(self, entry: Dict[str, Any]) -> Arrays:
        """The answer to a question of rungs 0 to 5."""
        return self._arrays(entry["name"] + ".expected.npz")

    def _arrays(self, name: str) -> Arrays:
        self._checked(name)
        return read_npz(self.folder / name)

    def _read_sums(self) -> Dict[str, str]:
        path = self.folder / SUMS
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"there is no baseline in {self.folder}; {MEND}") from error
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def _checked(self, name: str) -> bytes:
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}; {MEND}") from error
        if hashlib.sha256(content).hexdigest() != self._sums.get(name):
            raise DataError(f"{path} is not what {SUMS} says; {MEND}")
        return content


def as_index(question: Question, **more: Any) -> Dict[str, Any]:
    """The entry of a question in the index: all but its arrays."""
    entry = {name: value for name, value in question._asdict().items() if name != "given"}
    return {**entry, "protocols": list(question.protocols), **more}


def checksums(files: Dict[str, bytes]) -> str:
    """What ``sha256sum`` prints of the files."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
    )
