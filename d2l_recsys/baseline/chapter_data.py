"""MovieLens-100K, the chapter's own data, which rungs 0 and 6 ask about.

The baseline may not carry the data. So it has checksums of the right answers, and the data is
found or fetched when a port is asked.
"""

import hashlib
import pathlib
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from d2l_recsys.baseline.ladder import CLICKS, MODELS, tracks
from d2l_recsys.baseline.port import Arrays
from d2l_recsys.baseline.questions import Question
from d2l_recsys.errors import DataError

# What a model's data depends on besides ratings or clicks.
SETTINGS = {"caser": {"L": 3}, "fm": {"min_threshold": 4}, "deepfm": {"min_threshold": 4}}
SPLIT_SEED = 0
CHAPTER_QUESTIONS = "0-data-ml100k"


def read_inputs(models: List[str], data_dir: Optional[pathlib.Path]) -> Dict[str, Arrays]:
    """For each of ``models`` the ratings, int64 (n, 4), or the clicks, two files as uint8.

    Ratings are lines of user, item, rating and timestamp as in ``u.data``; clicks are
    MovieLens-100K recast, lines of a label and values between tabs. Raises what finding and
    fetching the data raises.
    """
    # Needs pandas, which the rest of the check does without.
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
    """The SHA-256 of each array that a port is given."""
    arrays = {name: array for given in inputs.values() for name, array in given.items()}
    return {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        for name, array in sorted(arrays.items())
    }


def check_inputs(inputs: Mapping[str, Arrays], sums: Mapping[str, str]) -> None:
    """Raise DataError where the data is not that of the baseline."""
    for name, digest in input_sums(inputs).items():
        if sums[name] != digest:
            raise DataError(
                f"the {name} are not those of MovieLens-100K, which rungs 0 and 6 are about; name "
                "a folder with the original in --data-dir, or leave them out with --rungs 1-5"
            )


def chapter_questions(inputs: Mapping[str, Arrays]) -> List[Question]:
    """The question of rung 0 about MovieLens-100K, for each model."""
    asked = []
    for model in MODELS:
        if model not in inputs:
            continue
        given: Dict[str, Any] = dict(inputs[model])
        given.update({name: np.array(value) for name, value in SETTINGS.get(model, {}).items()})
        if model == "autorec":
            rng = np.random.default_rng(SPLIT_SEED)
            given["uniform"] = rng.uniform(size=len(given["ratings"]))
        protocols = tuple(p for _, of_track in tracks(model) for p in of_track)
        asked.append(
            Question(f"{model}/{CHAPTER_QUESTIONS}", 0, "data", model, protocols, {}, given)
        )
    return asked
