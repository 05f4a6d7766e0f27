"""The command ``d2l-recsys``."""

import sys
from typing import List, Optional


def main(arguments: Optional[List[str]] = None) -> None:
    """Run ``d2l-recsys`` with ``arguments`` (default: ``sys.argv``), then exit."""
    try:
        # This import takes a while. Ctrl-C shall end it without a traceback.
        from d2l_recsys.cli.commands import start
    except KeyboardInterrupt:
        sys.exit(130)
    start(arguments)


if __name__ == "__main__":
    main()
