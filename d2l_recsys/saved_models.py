"""A trained model on disk: what a run leaves beside its result, and how to have it back."""

import inspect
import json
import os
import pathlib
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Union

from d2l_recsys.archive import pack, shown, unpack
from d2l_recsys.backend import gluon, mx, npx
from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.ids import ClickIds, RatingIds
from d2l_recsys.registry import SECTIONS
from d2l_recsys.results import write_files
from d2l_recsys.saver import check_alike, parameters_of, set_parameters
from d2l_recsys.settings import RANGES, check_settings

__all__ = ["MODEL", "TrainedModel", "arguments_of", "load_model", "model_bytes", "save_model"]

MODEL = "model.safetensors"
KIND, VERSION = "model", 1
PARAMETERS, IDS = "parameters/", "ids/"
MEND = "run its section again"
Ids = Union[RatingIds, ClickIds]


class TrainedModel(NamedTuple):
    """A net as it was at the end of a run of ``section``, and the ids that it knows.

    ``arguments`` are those it was made with.
    """

    section: str
    net: gluon.Block
    arguments: Dict[str, Any]
    ids: Ids


def arguments_of(model: Callable[..., gluon.Block], *arguments: Any) -> Dict[str, Any]:
    """The ``arguments`` of a model's class by name, as JSON has them."""
    bound = inspect.signature(model).bind(*arguments).arguments
    return json.loads(json.dumps(dict(bound), default=lambda array: array.tolist()))


def save_model(folder: Union[str, "os.PathLike[str]"], model: TrainedModel) -> None:
    """Put ``model`` where ``load_model`` finds it. Raises OutputError where that cannot be."""
    write_files(pathlib.Path(folder), {MODEL: model_bytes(model)})


def model_bytes(model: TrainedModel) -> bytes:
    """``model`` as a file."""
    arrays = {PARAMETERS + name: array for name, array in parameters_of(model.net).items()}
    arrays.update({IDS + name: array for name, array in model.ids.as_arrays().items()})
    content = {"section": model.section, "arguments": model.arguments}
    return pack(KIND, VERSION, content, arrays)


def load_model(
    folder: Union[str, "os.PathLike[str]"], device: Optional[mx.Context] = None
) -> TrainedModel:
    """The model that a run has left in ``folder``, on ``device`` (default: ``mx.cpu()``).

    It gives the bits that it gave there. Nothing in the file is executed: it holds numbers, and
    the class is that of the section it names. Sets MXNet's numpy semantics.

    Raises DataError where there is no model, or none that can be read.
    """
    path = pathlib.Path(folder) / MODEL
    if not path.exists():
        raise DataError(f"there is no {path}; a section's run leaves it in its folder")
    content, arrays = unpack(path, KIND, VERSION, MEND)
    npx.set_np()
    try:
        section = SECTIONS[content["section"]]
        arguments = dict(content["arguments"])
        check_settings(**{name: value for name, value in arguments.items() if name in RANGES})
        net = section.model()(**arguments)
        # Before any table is made, the file has shown the numbers that will fill it.
        values = _named(arrays, PARAMETERS)
        check_alike(net._collect_params_with_prefix(), values, "parameters")
        ids = (ClickIds if section.on_clicks else RatingIds).from_arrays(_named(arrays, IDS))
        _check_rows(ids, arguments)
    except (
        ArithmeticError,
        AttributeError,
        DataError,
        LookupError,
        RecursionError,
        SettingError,
        TypeError,
        ValueError,
        mx.MXNetError,
    ) as error:
        raise DataError(f"{path} is not a whole model ({shown(error)}); {MEND}") from error
    net.initialize(ctx=device or mx.cpu())
    set_parameters(net, values)
    return TrainedModel(section.name, net, arguments, ids)


def _check_rows(ids: Ids, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError where there is not one id for each row of a table."""
    if isinstance(ids, ClickIds):
        rows = {"field_dims": [len(values) + 1 for _, values in sorted(ids.feat_mapper.items())]}
    else:
        rows = {f"num_{name}": len(part) for name, part in ids._asdict().items()}
    for name, count in rows.items():
        if arguments.get(name, count) != count:
            raise ValueError(f"its ids are those of another model: {name} is not {count}")


def _named(arrays: Mapping[str, Any], prefix: str) -> Dict[str, Any]:
    return {n[len(prefix) :]: array for n, array in arrays.items() if n.startswith(prefix)}
