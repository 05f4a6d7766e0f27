"""``d2l-recsys run NAME``: run a section, a companion, a variant or an entry of the leaderboard."""

import inspect
import re
from typing import Any, List, Mapping, Optional

import typer
from typer.core import TyperCommand

from d2l_recsys.leaderboard.entries import ENTRIES
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import changed_options, choices_of
from d2l_recsys.sections.registry import SYSTEMS, VARIANTS, Section
from d2l_recsys.storage.files import default_folder

# Several values on the command line, where most options take one.
SEVERAL = re.compile(r"(--[a-z-]+=)?[^,/]+(,[^,/]+)+")


class SectionCommand(command_line.OnceCommand):
    """A section as a command, with the options of its source text; only running it loads MXNet.

    ``name`` is the name of the command. If it is the name of a variant or of an entry of the
    leaderboard, ``own`` are the options that it sets: the command has them as its defaults.
    ``begin`` is the begin of its help.
    """

    begin = ""

    def __init__(self, section: Section, name: str = "", own: Mapping[str, Any] = {}) -> None:
        self.section, self.own = section, own
        self._command: Optional[TyperCommand] = None
        sets = ", ".join(f"{name} {value}" for name, value in own.items())
        about = section.described + (f", with {sets}." if sets else ".")
        super().__init__(
            name or section.name,
            help=self.begin + about,
            # Without this, the list of commands would end a description at "et al.".
            short_help=about,
            rich_markup_mode=None,
            context_settings=command_line.HELP,
        )

    @property
    def params(self) -> List[Any]:
        """The options of the section, read from its source text."""
        if self._command is None:
            app = command_line.make_app(add_completion=False)
            command_line.add(app, self._run(), self.name)
            self._command = typer.main.get_command(app)
        return self._command.params

    @params.setter
    def params(self, params: List[Any]) -> None:
        """Ignore the options that the constructor of a command sets; the section has its own."""

    @property
    def signature(self) -> inspect.Signature:
        """The options of the section, with the defaults of this command."""
        return _with_defaults(self.section.options(), self.own)

    def _run(self) -> Any:
        """A function that imports and calls the section's ``main``; it has the same signature."""
        signature = self.signature

        def run(**options: Any) -> None:
            if self.own and options["out"] is None:
                changed = changed_options(signature, options)
                options["out"] = default_folder(self.name, options.get("seed"), changed)
            self.section.main()(**options)

        run.__signature__ = signature
        return run

    def parse_args(self, context: typer.Context, args: List[str]) -> List[str]:
        """Parse ``args``. The error for several values where one is due names ``sweep``."""
        try:
            return super().parse_args(context, list(args))
        except command_line.UsageError as error:
            if not _at_fault(getattr(error, "param", None), args):
                raise
            raise command_line.UsageError(
                f"{error.format_message()}; for several values, use `sweep {self.name}`"
            ) from error

    def invoke(self, context: Any) -> Any:
        """Call the section's ``main`` with the options of the command line."""
        return self._command.invoke(context)


def _at_fault(option: Optional[Any], args: List[str]) -> bool:
    """Whether ``option``, which has a wrong value in ``args``, was given several values at once."""
    names = getattr(option, "opts", [])
    values = [after for name, after in zip(args, args[1:]) if name in names]
    values += [word for word in args if word.partition("=")[0] in names]
    return any(SEVERAL.fullmatch(value) for value in values)


def _with_defaults(signature: inspect.Signature, own: Mapping[str, Any]) -> inspect.Signature:
    """``signature`` with the values in ``own`` as defaults."""

    def changed(parameter: inspect.Parameter) -> inspect.Parameter:
        if parameter.name not in own:
            return parameter
        choices, value = choices_of(parameter.annotation), own[parameter.name]
        return parameter.replace(default=value if choices is None else choices(value))

    return signature.replace(parameters=[*map(changed, signature.parameters.values())])


class SectionGroup(command_line.NearestGroup):
    """The group of commands: one for each name in ``d2l-recsys list``."""

    command_of = SectionCommand

    def list_commands(self, context: Any) -> List[str]:
        """The names of the commands; the sections come first, in the order of the book."""
        return list({**SYSTEMS, **VARIANTS, **ENTRIES})

    def get_command(self, context: Any, name: str) -> Optional[SectionCommand]:
        """The command called ``name``; None if there is no such command."""
        if name in SYSTEMS:
            return self.command_of(SYSTEMS[name])
        named = VARIANTS.get(name) or ENTRIES.get(name)
        return named and self.command_of(named.section, name, named.options)
