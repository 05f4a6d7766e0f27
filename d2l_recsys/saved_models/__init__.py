"""Save a trained model to a file, and load it again.

Only models that are Gluon nets need MXNet; closed forms do not.
"""

import inspect
import json
import os
import pathlib
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Union

import numpy as np

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.model_bases.closed_form import ClosedForm
from d2l_recsys.saved_models.ids import ClickIds, RatingIds
from d2l_recsys.sections.registry import SYSTEMS
from d2l_recsys.settings import check_settings, has_range
from d2l_recsys.storage.archive import pack, shown, unpack
from d2l_recsys.storage.files import write_files

__all__ = ["MODEL", "TrainedModel", "arguments_of", "load_model", "model_bytes", "save_model"]

MODEL = "model.safetensors"
KIND, VERSION = "model", 1
PARAMETERS, IDS = "parameters/", "ids/"
MEND = "run its section again to replace the file"
Ids = Union[RatingIds, ClickIds]
# The errors that a readable file can cause if its content is not a model.
WRONG_CONTENT = (
    ArithmeticError,
    AttributeError,
    DataError,
    LookupError,
    RecursionError,
    SettingError,
    TypeError,
    ValueError,
)


class TrainedModel(NamedTuple):
    """A trained model: the Gluon net or closed form from the end of a run of ``section``.

    ``arguments`` are the arguments of the net's class, or the numbers of a closed form. ``ids``
    maps the ids in the data set to the rows of the model.
    """

    section: str
    net: Any
    arguments: Dict[str, Any]
    ids: Ids


def arguments_of(model: Callable[..., Any], *arguments: Any) -> Dict[str, Any]:
    """The ``arguments`` of a model's class by name, with values that JSON can store."""
    bound = inspect.signature(model).bind(*arguments).arguments
    return json.loads(json.dumps(dict(bound), default=lambda array: array.tolist()))


def save_model(folder: Union[str, "os.PathLike[str]"], model: TrainedModel) -> None:
    """Save ``model`` in ``folder`` for ``load_model``. Raises OutputError if writing fails."""
    write_files(pathlib.Path(folder), {MODEL: model_bytes(model)})


def model_bytes(model: TrainedModel) -> bytes:
    """The bytes of the file that stores ``model``."""
    arrays = {PARAMETERS + name: array for name, array in _parameters(model.net).items()}
    arrays.update({IDS + name: array for name, array in model.ids.as_arrays().items()})
    content = {"section": model.section, "arguments": model.arguments}
    return pack(KIND, VERSION, content, arrays)


def _parameters(model: Any) -> Dict[str, np.ndarray]:
    if isinstance(model, ClosedForm):
        return model.arrays
    from d2l_recsys.model_bases.parameters import parameters_of

    return parameters_of(model)


def arrays_of_model(folder: Union[str, "os.PathLike[str]"]) -> Dict[str, np.ndarray]:
    """The parameters of the model in ``folder``, by name; raises DataError as ``load_model``."""
    return _named(unpack(pathlib.Path(folder) / MODEL, KIND, VERSION, MEND)[1], PARAMETERS)


def load_model(
    folder: Union[str, "os.PathLike[str]"], device: Optional[Any] = None
) -> TrainedModel:
    """Load the model that a run saved in ``folder``; a net is on ``device``, default ``mx.cpu()``.

    The model predicts the same bits as at the end of its run. Loading executes nothing from the
    file: the file has numbers and the name of a section, and the section has the model's class. For
    a net, this function sets MXNet's numpy semantics.

    Raises DataError if there is no model or the file cannot be read.
    """
    path = pathlib.Path(folder) / MODEL
    if not path.exists():
        raise DataError(
            f"there is no {path}; name the folder of a finished run, which has this file"
        )
    content, arrays = unpack(path, KIND, VERSION, MEND)
    try:
        section = SYSTEMS[content["section"]]
        arguments = dict(content["arguments"])
        check_settings(**{name: value for name, value in arguments.items() if has_range(name)})
        ids = (ClickIds if section.on_clicks else RatingIds).from_arrays(_named(arrays, IDS))
        model, values = section.model(), _named(arrays, PARAMETERS)
        if inspect.isclass(model) and issubclass(model, ClosedForm):
            net = model.from_parts(values, arguments, users=len(ids.users), items=len(ids.items))
        else:
            _check_rows(ids, arguments)
            net = _net(model, arguments, values, device)
    except WRONG_CONTENT as error:
        raise DataError(f"{path} is not a complete model ({shown(error)}); {MEND}") from error
    return TrainedModel(section.name, net, arguments, ids)


def _net(
    model: Callable[..., Any],
    arguments: Mapping[str, Any],
    values: Mapping[str, np.ndarray],
    device: Optional[Any],
) -> Any:
    """The net ``model(**arguments)`` with the parameters ``values``, on ``device``."""
    from d2l_recsys.backend import mx, npx
    from d2l_recsys.model_bases.parameters import check_alike, set_parameters

    npx.set_np()
    try:
        net = model(**arguments)
        # Compare shapes before memory is allocated: a damaged file may name a huge table.
        check_alike(net._collect_params_with_prefix(), values, "parameters")
    except mx.MXNetError as error:
        raise ValueError(str(error)) from error
    net.initialize(ctx=device or mx.cpu())
    set_parameters(net, values)
    return net


def _check_rows(ids: Ids, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError if a table of the model does not have one row for each id."""
    if isinstance(ids, ClickIds):
        rows = {"field_dims": [len(values) + 1 for _, values in sorted(ids.feat_mapper.items())]}
    else:
        rows = {f"num_{name}": len(part) for name, part in ids._asdict().items()}
    for name, count in rows.items():
        if arguments.get(name, count) != count:
            raise ValueError(f"{name} of the model is not {count}, the number of ids in the file")


def _named(arrays: Mapping[str, Any], prefix: str) -> Dict[str, Any]:
    return {n[len(prefix) :]: array for n, array in arrays.items() if n.startswith(prefix)}
