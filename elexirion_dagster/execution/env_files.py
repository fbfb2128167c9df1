"""Dagster's programs without what a file `.env` in the current folder says: the folder may be somebody else's.

Dagster lets the variables of such a file replace those of the environment, addresses of providers included.
`python -P -m elexirion_dagster.execution.env_files dagster-daemon ARGUMENTS` is `dagster-daemon ARGUMENTS` without
that, and likewise `dagster`.
"""

import importlib
import sys
import sysconfig
from collections.abc import Sequence

_PROGRAMS = {"dagster": "dagster._cli", "dagster-daemon": "dagster._daemon.cli"}


def command(program: str, *arguments: str) -> list[str]:
    """The words that start one of Dagster's programs; no module is imported from the current folder either."""
    return [sys.executable, "-P", "-m", "elexirion_dagster.execution.env_files", program, *arguments]


def ignore_env_files() -> None:
    """Open Dagster's instances in this process without reading such a file."""
    utils = importlib.import_module("dagster._cli.utils")
    utils.get_env_var_dict = _nothing  # type: ignore[attr-defined]


def _nothing(_folder: str) -> dict[str, str]:
    return {}


def main(words: Sequence[str]) -> None:
    """Run the program that the first word names."""
    program, *arguments = words
    ignore_env_files()
    sys.argv = [program, *arguments]
    # Where a script has its own folder, which Dagster leaves out when it imports a code location.
    sys.path.insert(0, sysconfig.get_path("scripts"))
    importlib.import_module(_PROGRAMS[program]).main()


if __name__ == "__main__":
    main(sys.argv[1:])
