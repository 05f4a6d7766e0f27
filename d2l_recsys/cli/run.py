"""``d2l-recsys run NAME``: a section with the options of its script."""

from typing import Any, List, Optional

import typer
from typer.core import TyperCommand, TyperGroup

from d2l_recsys.sections import command_line
from d2l_recsys.sections.registry import SYSTEMS, Section


class SectionCommand(TyperCommand):
    """A section as a command: its options come from its source, MXNet is loaded when it runs."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self._command: Optional[TyperCommand] = None
        super().__init__(section.name, help=f"{section.described}.", rich_markup_mode=None)

    @property
    def params(self) -> List[Any]:
        """The options of the section."""
        if self._command is None:
            app = command_line.make_app(add_completion=False)
            app.command(self.name)(command_line.command(self._run()))
            self._command = typer.main.get_command(app)
        return self._command.params

    @params.setter
    def params(self, params: List[Any]) -> None:
        """The constructor of a command sets its options; here they come from the section."""

    def _run(self) -> Any:
        """The section's ``main``, imported when it is called, with the signature of its source."""

        def run(**options: Any) -> None:
            self.section.main()(**options)

        run.__signature__ = self.section.options()
        return run

    def invoke(self, context: Any) -> Any:
        """Call the section's ``main``."""
        return self._command.invoke(context)


class SectionGroup(TyperGroup):
    """A command for each section and each companion in the registry."""

    def list_commands(self, context: Any) -> List[str]:
        """Their names, the sections' in the order of the book."""
        return list(SYSTEMS)

    def get_command(self, context: Any, name: str) -> Optional[SectionCommand]:
        """The section's command, None where there is no such section."""
        return SectionCommand(SYSTEMS[name]) if name in SYSTEMS else None
