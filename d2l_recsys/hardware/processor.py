"""The processor of the machine. Needs no MXNet."""

import contextlib
import pathlib
import platform
import re
from typing import Optional

CPU_INFO = pathlib.Path("/proc/cpuinfo")


def processor_model() -> Optional[str]:
    """The model of the processor as the system names it; None if the system does not name it."""
    with contextlib.suppress(OSError):
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^model name\s*:(.*)$", text, flags=re.MULTILINE)
        if found and found[1].strip():
            return " ".join(found[1].split())
    return platform.processor() or None
