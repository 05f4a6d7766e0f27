"""``d2l-recsys run NAME``: run a section or a companion with the options of its script."""

from typing import Any, List, Optional

import typer
from typer.core import TyperCommand, TyperGroup

from d2l_recsys.sections import command_line
from d2l_recsys.sections.registry import SYSTEMS, Section


class SectionCommand(TyperCommand):
    """A section as a command, with the options of its source text; only running it loads MXNet."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self._command: Optional[TyperCommand] = None
        super().__init__(section.name, help=f"{section.described}.", rich_markup_mode=None)

    @property
    def params(self) -> List[Any]:
        """The options of the section, read from its source text."""
        if self._command is None:
            app = command_line.make_app(add_completion=False)
            app.command(self.name)(command_line.command(self._run()))
            self._command = typer.main.get_command(app)
        return self._command.params

    @params.setter
    def params(self, params: List[Any]) -> None:
        """Ignore the options that the constructor of a command sets; the section has its own."""

    def _run(self) -> Any:
        """A function that imports and calls the section's ``main``; it has the same signature."""

        def run(**options: Any) -> None:
            self.section.main()(**options)

        run.__signature__ = self.section.options()
        return run

    def invoke(self, context: Any) -> Any:
        """Call the section's ``main`` with the options of the command line."""
        return self._command.invoke(context)


class SectionGroup(TyperGroup):
    """The group of commands with one command for each section and companion in the registry."""

    def list_commands(self, context: Any) -> List[str]:
        """The names of the commands; the sections come first, in the order of the book."""
        return list(SYSTEMS)

    def get_command(self, context: Any, name: str) -> Optional[SectionCommand]:
        """The command of the section ``name``; None if there is no such section."""
        return SectionCommand(SYSTEMS[name]) if name in SYSTEMS else None
