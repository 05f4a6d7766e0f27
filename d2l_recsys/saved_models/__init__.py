"""A trained model on disk: what a run leaves beside its result, and how to have it back.

MXNet is loaded for the models that are Gluon nets, not for closed forms.
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
MEND = "run its section again"
Ids = Union[RatingIds, ClickIds]
# What a file may give rise to that is read well, but not a model.
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
    """A Gluon net or closed form as it was at the end of a run of ``section``; the ids it knows.

    ``arguments`` are those it was made with, of a closed form its numbers.
    """

    section: str
    net: Any
    arguments: Dict[str, Any]
    ids: Ids


def arguments_of(model: Callable[..., Any], *arguments: Any) -> Dict[str, Any]:
    """The ``arguments`` of a model's class by name, as JSON has them."""
    bound = inspect.signature(model).bind(*arguments).arguments
    return json.loads(json.dumps(dict(bound), default=lambda array: array.tolist()))


def save_model(folder: Union[str, "os.PathLike[str]"], model: TrainedModel) -> None:
    """Put ``model`` where ``load_model`` finds it. Raises OutputError where that cannot be."""
    write_files(pathlib.Path(folder), {MODEL: model_bytes(model)})


def model_bytes(model: TrainedModel) -> bytes:
    """``model`` as a file."""
    arrays = {PARAMETERS + name: array for name, array in _parameters(model.net).items()}
    arrays.update({IDS + name: array for name, array in model.ids.as_arrays().items()})
    content = {"section": model.section, "arguments": model.arguments}
    return pack(KIND, VERSION, content, arrays)


def _parameters(model: Any) -> Dict[str, np.ndarray]:
    if isinstance(model, ClosedForm):
        return model.arrays
    from d2l_recsys.model_bases.parameters import parameters_of

    return parameters_of(model)


def load_model(
    folder: Union[str, "os.PathLike[str]"], device: Optional[Any] = None
) -> TrainedModel:
    """The model that a run has left in ``folder``; a net is on ``device`` (default: ``mx.cpu()``).

    It gives the bits that it gave there. Nothing in the file is executed: it holds numbers, and
    the class is that of the section it names. For a net, sets MXNet's numpy semantics.

    Raises DataError where there is no model, or none that can be read.
    """
    path = pathlib.Path(folder) / MODEL
    if not path.exists():
        raise DataError(f"there is no {path}; a section's run leaves it in its folder")
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
        raise DataError(f"{path} is not a whole model ({shown(error)}); {MEND}") from error
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
        # Before any table is made, the file has shown the numbers that will fill it.
        check_alike(net._collect_params_with_prefix(), values, "parameters")
    except mx.MXNetError as error:
        raise ValueError(str(error)) from error
    net.initialize(ctx=device or mx.cpu())
    set_parameters(net, values)
    return net


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
