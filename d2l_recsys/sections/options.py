"""``@section``: make a function the command of a section, with its parameters as the options.

    @section("mf")
    def main(run: Run, num_factors: int = 30, lr: float = 0.002) -> Dict[str, Any]:

A user calls this command as ``main(seed=3, num_factors=50)``. It first has the options that all
runs of this kind share (``SHARED``), and then the section's own options, which are the other
parameters of ``main``. The command checks each value, makes the run from the shared options, and
calls the function with the run and the section's own options.

The meaning of an option is written in one place. For a number, ``settings.SETTINGS`` has the help
and the range, under the name of the parameter. For a choice, the enumeration that annotates the
parameter has the words and the help. If the general help does not fit, ``Annotated[int, "..."]``
gives another.

``read_options`` reads the options from the source of a section. It does not import the section, so
it does not load MXNet.
"""

import ast
import functools
import inspect
import pathlib
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple, Type, Union

from typing_extensions import Annotated, get_args, get_origin

from d2l_recsys.errors import SettingError
from d2l_recsys.settings import (
    ONLY_WITH,
    SETTINGS,
    Choice,
    ClickDataset,
    Device,
    Optimizer,
    Protocol,
    TimeSplit,
    as_choice,
    check_settings,
    has_range,
    option,
)


def _every_run(
    seed: int = 0,
    num_devices: int = 1,
    device: Optional[Device] = None,
    optimizer: Optimizer = Optimizer.adam,
    protocol: Protocol = Protocol.printed,
    data_dir: Optional[pathlib.Path] = None,
    out: Optional[pathlib.Path] = None,
    force: bool = False,
    resume: bool = False,
    quiet: bool = False,
    dataset: ClickDataset = ClickDataset.book,
    strict: bool = False,
    min_threshold: int = 4,
    split: TimeSplit = TimeSplit.seq_aware,
    cutoff: List[int] = (),
) -> None:
    """The options that runs share, with their defaults; ``SHARED`` has those of each kind."""


_DATA = ("data_dir", "out", "force", "quiet")
# No number of a run depends on these options.
_NO_NUMBERS = {"seed", "resume", *_DATA}
_CLICKS = ("dataset", "strict", "min_threshold")
_RANKING = ("split", "cutoff")
_TRAINING = ("seed", "num_devices", "device", "optimizer", "resume", *_DATA)
# The names of the shared options of each kind of run, by the name of its class.
SHARED = {
    "DataRun": _DATA,
    "ClickDataRun": (*_DATA, *_CLICKS),
    "Run": (*_TRAINING, "protocol"),
    "ClickRun": (*_TRAINING, "protocol", *_CLICKS),
    "RankingRun": (*_TRAINING, "protocol", *_RANKING),
    "CompanionRun": (*_TRAINING, "protocol", *_RANKING),
    "ClosedFormRun": (*_DATA, *_RANKING),
    "SeededClosedFormRun": ("seed", *_DATA, *_RANKING),
    "SessionRun": ("seed", "device", "optimizer", "resume", *_DATA, "split", "cutoff"),
    "AllRatingsRun": _TRAINING,
    "AllRatingsClosedFormRun": _DATA,
    "LossesRun": ("seed", "num_devices", "device", "optimizer", *_DATA, "protocol", *_RANKING),
}
# The defaults of shared options that one kind of run has for itself. The book does not have the
# companions, so there is no printed number to compare theirs with.
_OWN_DEFAULTS = {"CompanionRun": {"protocol": Protocol.defined}}
# The help of a shared option where it means something else for one kind of run.
_OWN_HELP = {
    "SessionRun": {
        "split": "Held out: the last tenth of the sessions, or the tenth before it (for a search)."
    }
}


def section(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make ``main(run, ...)`` the command of the section that the registry calls ``name``.

    The annotation of ``run`` is the class of the run. All options are keyword arguments. The
    command raises SettingError for a value that an option does not take, TypeError for a positional
    argument or an unknown option, and the errors of the run and of ``main``.
    """

    def decorate(main: Callable[..., Any]) -> Callable[..., Any]:
        kind, signature = _kind_and_options(main)
        shared = SHARED[kind.__name__]

        @functools.wraps(main)
        def command(*arguments: Any, **options: Any) -> Any:
            if arguments:
                given = ", ".join(f"{n}={v!r}" for n, v in zip(signature.parameters, arguments))
                raise TypeError(f"main takes its options by name: write main({given})")
            try:
                bound = signature.bind(**options)
            except TypeError as error:
                raise TypeError(f"main() {error}") from None
            bound.apply_defaults()
            values = checked_options(signature, bound.arguments)
            settings = {n: value for n, value in values.items() if n not in shared}
            run = kind(
                name,
                settings,
                changed=changed_options(signature, values),
                **{n: values[n] for n in shared},
            )
            with run:
                return main(run, **settings)

        del command.__wrapped__
        command.__signature__ = signature
        command.__annotations__ = {n: p.annotation for n, p in signature.parameters.items()}
        command.__doc__ = f"{inspect.getdoc(main)}\n\n{_parameters_section(signature)}"
        return command

    return decorate


def plain(value: Any) -> Any:
    """``value``, with a tuple as a list, so that both compare as equal."""
    return list(value) if isinstance(value, (list, tuple)) else value


def changed_options(signature: inspect.Signature, values: Mapping[str, Any]) -> Dict[str, Any]:
    """Those of ``values`` that differ from the defaults, and that the numbers of a run depend on.

    A seed is not among them: the default folder names it in another way.
    """
    return {
        name: values[name]
        for name, parameter in signature.parameters.items()
        if name not in _NO_NUMBERS and plain(values[name]) != plain(parameter.default)
    }


def checked_options(signature: inspect.Signature, values: Mapping[str, Any]) -> Dict[str, Any]:
    """``values`` of all options of ``signature``, in the form that ``main`` takes.

    Raises SettingError if a value is not allowed, or has no effect beside the other values.
    """
    checked = {name: _checked(p, values[name]) for name, p in signature.parameters.items()}
    for name in changed_options(signature, checked):
        if name in ONLY_WITH:
            other, allowed = ONLY_WITH[name]
            if other in checked and checked[other] not in allowed:
                raise SettingError(
                    f"{option(name)} is {checked[name]}, but it has no effect with {option(other)} "
                    f"{checked[other]}; leave it out, or choose {option(other)} "
                    f"{' or '.join(allowed)}"
                )
    return checked


def _kind_and_options(main: Callable[..., Any]) -> Tuple[Any, inspect.Signature]:
    """The kind of run of ``main`` (the annotation of its first parameter), and all its options.

    The shared options come first. The kind is a class, or the name of a class.
    """
    first, *own = inspect.signature(main).parameters.values()
    kind = first.annotation
    name_of_kind = kind if isinstance(kind, str) else kind.__name__
    every = inspect.signature(_every_run).parameters
    shared = [every[name] for name in every if name in SHARED[name_of_kind]]
    defaults = _OWN_DEFAULTS.get(name_of_kind, {})
    parameters = [p.replace(default=defaults.get(p.name, p.default)) for p in shared] + own
    for place, parameter in enumerate(parameters):
        if parameter.name in _OWN_HELP.get(name_of_kind, {}):
            text = _OWN_HELP[name_of_kind][parameter.name]
            annotation = Annotated[parameter.annotation, text]
            parameters[place] = parameter.replace(annotation=annotation)
    return kind, inspect.Signature(
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )


def _checked(parameter: inspect.Parameter, value: Any) -> Any:
    """``value`` in the form that ``main`` takes. Raises SettingError if it is not allowed."""
    choices = choices_of(parameter.annotation)
    if choices is not None:
        if value is None and parameter.default is None:
            return None
        return as_choice(choices, parameter.name, value)
    if is_list_of_numbers(parameter):
        value = list(value)
    if has_range(parameter.name):
        check_settings(**{parameter.name: value})
    return value


def kind_of(parameter: inspect.Parameter) -> Any:
    """The type of an option: its annotation, without the help that it may have."""
    kind = parameter.annotation
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def is_value(parameter: inspect.Parameter, value: Any) -> bool:
    """Whether ``value``, as JSON has it, is of the type of an option. Its range is not checked."""
    kind = kind_of(parameter)
    choices = choices_of(kind)
    if choices is not None:
        words = [member.value for member in choices]
        return value in words if isinstance(value, str) else value is parameter.default
    if get_origin(kind) is Union:
        kind = next(part for part in get_args(kind) if part is not type(None))
        if value is None:
            return True
    if get_origin(kind) is list:
        return isinstance(value, list) and all(type(number) is int for number in value)
    return type(value) is kind or (kind is float and type(value) is int)


def _parameters_section(signature: inspect.Signature) -> str:
    """The section "Parameters" of a docstring, with the help of each option."""
    lines = [f"{name} : {help_of(p)}" for name, p in signature.parameters.items()]
    return "\n".join(["Parameters", "----------", *lines])


def is_list_of_numbers(parameter: inspect.Parameter) -> bool:
    """Whether an option takes a list of whole numbers."""
    return kind_of(parameter) == List[int]


def choices_of(annotation: Any) -> Optional[Type[Choice]]:
    """The ``Choice`` in an annotation such as ``Split`` or ``Optional[Split]``, or None."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, Annotated) else [annotation]
    found = (part for part in parts if inspect.isclass(part) and issubclass(part, Choice))
    return next(found, None)


def help_of(parameter: inspect.Parameter) -> str:
    """The help of an option. Raises KeyError if the option has no help."""
    if get_origin(parameter.annotation) is Annotated:
        for part in get_args(parameter.annotation)[1:]:
            if isinstance(part, str):
                return part
    choices = choices_of(parameter.annotation)
    if choices is not None:
        return inspect.getdoc(choices).partition("\n")[0]
    return SETTINGS[parameter.name].help


def read_options(path: pathlib.Path) -> inspect.Signature:
    """The options of ``main`` in the section at ``path``, read from its source.

    Executes only the definitions and imports that the options need: their enumerations, their
    constants, and what these need in turn.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (main,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    run = main.args.args[0]
    run.annotation = ast.Constant(run.annotation.id)
    main.body, main.decorator_list, main.returns = [ast.Pass()], [], None
    needed = ast.Module([*_defining(_names(main), tree.body), main], type_ignores=[])
    namespace: Dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(needed), str(path), "exec"), namespace)
    return _kind_and_options(namespace["main"])[1]


def _names(node: ast.AST) -> Set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _defining(names: Iterable[str], body: List[ast.stmt]) -> List[ast.stmt]:
    """The statements of ``body`` that define ``names`` and all that these need, in order."""
    found: Dict[int, ast.stmt] = {}
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for place, node in enumerate(body):
            if isinstance(node, (ast.ImportFrom, ast.Import)):
                aliases = [a for a in node.names if (a.asname or a.name) == name]
                if aliases:
                    kept = found.setdefault(place, _without_names(node))
                    kept.names.extend(aliases)
            elif name in _defined(node):
                found[place] = node
                todo += _names(node)
    return [found[place] for place in sorted(found)]


def _without_names(node: Union[ast.ImportFrom, ast.Import]) -> Union[ast.ImportFrom, ast.Import]:
    if isinstance(node, ast.Import):
        return ast.Import([])
    return ast.ImportFrom(node.module, [], node.level)


def _defined(node: ast.stmt) -> Set[str]:
    """The names that a class definition or an assignment defines."""
    if isinstance(node, ast.ClassDef):
        return {node.name}
    return _names(ast.Module(node.targets, [])) if isinstance(node, ast.Assign) else set()
