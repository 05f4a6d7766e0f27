"""MovieLens-100K, the chapter's own data, for the questions of rungs 0 and 6.

The data may not be redistributed. So the baseline has only checksums of the right answers, and the
check finds or downloads the data itself.
"""

import hashlib
import pathlib
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS, MODELS, VARIANTS, base, tracks
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question
from d2l_recsys.errors import DataError

# The settings that the data of a model depends on, besides ratings or clicks. A variant that is
# missing here has the data of its model.
SETTINGS = {
    "autorec-user": {"rows_are_users": 1}, "caser": {"L": 3}, "caser-L5": {"L": 5},
    "fm": {"min_threshold": 4}, "deepfm": {"min_threshold": 4},
}  # fmt: skip
# The models and variants that have a question about this data.
OWN_DATA = tuple(name for name in VARIANTS if name in (*MODELS, *SETTINGS))
SPLIT_SEED = 0
CHAPTER_QUESTIONS = "0-data-ml100k"


def read_inputs(models: List[str], data_dir: Optional[pathlib.Path]) -> Dict[str, Arrays]:
    """Find or download MovieLens-100K; returns the arrays that each of ``models`` is given.

    Variants in ``models`` count as models.

    ``ratings`` is int64 (n, 4): user, item, rating and timestamp of each line of ``u.data``, with
    ids from 1. ``train_tsv`` and ``test_tsv`` are MovieLens-100K recast as clicks: uint8 bytes of
    lines with a label and values between tabs. Raises the errors of finding and downloading.
    """
    # Imported here because these modules need pandas, and the rest of the check does not.
    from d2l_recsys.datasets.movielens import read_data_ml100k
    from d2l_recsys.datasets.movielens_clicks import movielens_clicks

    found: Dict[str, Arrays] = {}
    ratings: Arrays = {}
    clicks: Arrays = {}
    for model in models:
        if model in CLICKS:
            if not clicks:
                files = (np.frombuffer(part, np.uint8) for part in movielens_clicks(data_dir))
                clicks = dict(zip(("train_tsv", "test_tsv"), files))
            found[model] = clicks
        else:
            if not ratings:
                ratings = {"ratings": read_data_ml100k(data_dir)[0].to_numpy(np.int64)}
            found[model] = ratings
    return found


def input_sums(inputs: Mapping[str, Arrays]) -> Dict[str, str]:
    """The SHA-256 of each array in ``inputs``, by the name of the array."""
    arrays = {name: array for given in inputs.values() for name, array in given.items()}
    return {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        for name, array in sorted(arrays.items())
    }


def check_inputs(inputs: Mapping[str, Arrays], sums: Mapping[str, str]) -> None:
    """Raise DataError if the data is not the data that the baseline was made with."""
    for name, digest in input_sums(inputs).items():
        if sums[name] != digest:
            raise DataError(
                f"the {name} differ from MovieLens-100K, which rungs 0 and 6 need; name a folder "
                "with the original data in --data-dir, or leave out these rungs with --rungs 1-5"
            )


def chapter_questions(inputs: Mapping[str, Arrays]) -> Dict[str, Question]:
    """The questions of rung 0 about MovieLens-100K, for the models and variants in ``inputs``.

    They are ordered, and have as keys the variants whose data they are about.
    """
    asked: Dict[str, Question] = {}
    for variant in filter(inputs.get, VARIANTS):
        model = base(variant)
        name = variant if variant in OWN_DATA else model
        given: Dict[str, Any] = dict(inputs[variant])
        given.update({key: np.array(value) for key, value in SETTINGS.get(name, {}).items()})
        if model == "autorec":
            rng = np.random.default_rng(SPLIT_SEED)
            given["uniform"] = rng.uniform(size=len(given["ratings"]))
        protocols = tuple(p for _, of_track in tracks(model) for p in of_track)
        of_name = f"{name}/{CHAPTER_QUESTIONS}"
        asked[name] = Question(of_name, 0, "data", model, protocols, {}, given)
    return asked
