"""Whether a command failed because of its sandbox: never certain, so it is only said that it may be so."""

import os
import re
from pathlib import Path
from typing import Protocol

from elexirion_dagster.sandbox.places import in_system
from elexirion_dagster.sandbox.policy import Sandbox

_NETWORK = re.compile(
    r"network is unreachable|temporary failure in name resolution|could not resolve host|name or service not known"
    r"|unable to resolve|getaddrinfo|ENETUNREACH|EAI_AGAIN|no address associated with hostname",
    re.IGNORECASE,
)
_READ_ONLY = re.compile(r"read-only file system|EROFS", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|EACCES|operation not permitted", re.IGNORECASE)
_PATH = re.compile(r"/[^\s'\":,;()<>|*?]+")
_MOST_CHARACTERS = 20_000
_NOT_FOUND, _NOT_RUN = 127, 126
_LEAST_PARTS = 2
"""`/tmp` itself is there inside as well."""


class Done(Protocol):
    """What is looked at of a command that has ended."""

    @property
    def exit_code(self) -> int:
        """As in `shell.Completed`."""

    @property
    def stdout(self) -> str:
        """The same."""

    @property
    def stderr(self) -> str:
        """The same."""

    @property
    def isolation(self) -> str:
        """The same."""


def hint(done: Done, sandbox: Sandbox, *, names_paths: bool) -> str | None:
    """What to write into the step if the sandbox caused this failure; None where nothing looks like it.

    `names_paths`: it may say that a path exists outside the sandbox; a model must not learn that.
    """
    if done.exit_code == 0 or done.isolation == "none":
        return None
    text = f"{done.stdout[-_MOST_CHARACTERS:]}\n{done.stderr[-_MOST_CHARACTERS:]}"
    off = "`sandbox: off` runs the step without a sandbox"
    if not sandbox.network and _NETWORK.search(text):
        return (
            "The sandbox may have caused this: it has no network. Set `network: true` on a command step if it needs it."
        )
    if names_paths and (path := _invisible(text, sandbox)):
        return (
            f"The sandbox may have caused this: {path} exists, but not inside it. "
            f"Declare it as an input of type path; {off}."
        )
    if _READ_ONLY.search(text) or (done.isolation == "landlock" and _DENIED.search(text)):
        return f"The sandbox may have caused this: only the workspace and temporary files are writable; {off}."
    if done.exit_code in (_NOT_FOUND, _NOT_RUN):
        return f"The sandbox may have caused this: only installed programs are in it; {off}."
    return None


def _invisible(text: str, sandbox: Sandbox) -> str | None:
    """The first path in a text that exists here and lies in none of the places that the sandbox shows."""
    shown = (*sandbox.writable, *sandbox.readable)
    for path in dict.fromkeys(_PATH.findall(text)):
        place = Path(path.rstrip("."))
        inside = in_system(place) or any(place.is_relative_to(one) for one in (*shown, Path("/proc"), Path("/dev")))
        if not inside and len(place.parts) > _LEAST_PARTS and os.path.lexists(place):
            return str(place)
    return None
