"""Findings that a repository lives with: `.elexirion/suppressions.yaml`, reviewed like its code and read as data.

```yaml
suppressions:
  - fingerprint: f3b7c1a09d24e5f6 # `elexirion findings list` has it
    path: src/shell.py # optional; which of several equal findings
    reason: The text is a constant.
    owner: ada
    expires: 2027-06-30 # optional; the last day
```
"""

from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from elexirion_dagster.codebase.confine import open_below
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask
from elexirion_dagster.errors import ElexirionError, InputError, PipelineError, Problem
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.shell import Limits
from elexirion_dagster.yamlio import MAX_BYTES, Document, load_text

FILE = ".elexirion/suppressions.yaml"
_LINK = "120000"


class Suppression(BaseModel):
    """One finding that is not reported: who answers for that, why, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str = Field(pattern=r"^f[0-9a-f]{15}$")
    reason: str = Field(min_length=1, max_length=1000)
    owner: str = Field(min_length=1, max_length=200)
    path: str | None = Field(default=None, min_length=1, max_length=4096)
    expires: date | None = None


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    suppressions: tuple[Suppression, ...]


def load(root: Path, commit: str | None = None) -> tuple[Suppression, ...]:
    """Read the file below `root`, or as a commit has it; nothing where there is none.

    Raises InputError that names file and line.
    """
    if commit is not None:
        content = _committed(root, commit)
        return () if content is None else parse(content)
    if not (root / FILE).exists() and not (root / FILE).is_symlink():
        return ()
    try:
        with open(open_below(root, FILE), "rb") as file:  # noqa: PTH123  a descriptor, not a path
            content = file.read(MAX_BYTES + 1)
    except ElexirionError as error:
        raise InputError(f"{FILE} cannot be used: {error.message}", mend=error.mend) from error
    return parse(content)


def _committed(root: Path, commit: str) -> bytes | None:
    git = find("git")
    if git is None:
        raise InputError(f"git is not installed, and {FILE} is to be read out of a commit", mend="Install git.")
    listed = ask(git, root, "ls-tree", "-z", commit, "--", FILE)
    if listed.exit_code != 0:
        why = (listed.stderr.strip().splitlines() or ["git said nothing"])[0][:200]
        raise InputError(f"{FILE} of {commit} cannot be read: {why}", mend="Is that commit still there?")
    if not listed.stdout:
        return None
    mode, kind, blob = listed.stdout.split("\t", 1)[0].split()
    if kind != "blob" or mode == _LINK:
        raise InputError(f"{FILE} of {commit} is no regular file", mend="Make it a file of text.")
    shown = ask(git, root, "cat-file", "blob", blob, limits=Limits(output_bytes=MAX_BYTES + 1))
    if shown.truncated:
        raise InputError(f"{FILE} is larger than {MAX_BYTES:,} bytes", mend="Remove what is fixed.")
    return shown.stdout.encode("utf-8", "surrogateescape")


def parse(content: bytes) -> tuple[Suppression, ...]:
    """Read the file's content, for instance of a commit. Raises InputError that names file and line."""
    try:
        document = load_text(content.decode(), file=FILE)
        return _checked(document)
    except UnicodeDecodeError as error:
        raise InputError(f"{FILE} is not UTF-8 text", mend="Save it as UTF-8.") from error
    except PipelineError as error:
        raise InputError("\n".join(str(problem) for problem in error.problems)) from error


def entries(suppressions: Sequence[Suppression], redactor: Redactor) -> list[dict[str, Json]]:
    """Write them as the journal's `suppressions` line has them."""
    said: list[dict[str, Json]] = redactor.tree([one.model_dump(mode="json") for one in suppressions])
    return said


def _checked(document: Document) -> tuple[Suppression, ...]:
    try:
        found = _File.model_validate(document.data).suppressions
    except ValidationError as error:
        problems = [_problem(document, dict(one)) for one in error.errors(include_url=False)[:20]]
        raise PipelineError(problems) from error
    seen: dict[tuple[str, str | None], int] = {}
    for at, one in enumerate(found):
        first = seen.setdefault((one.fingerprint, one.path), at)
        if first != at:
            line = document.position(("suppressions", first))[0]
            message = f"{one.fingerprint} stands here a second time (first in line {line})"
            mend = "Remove one, or give each the path of its own finding."
            raise PipelineError([document.problem(message, ("suppressions", at), mend)])
    return found


def _problem(document: Document, error: dict[str, Json]) -> Problem:
    path = tuple(error["loc"])
    where, known = (Suppression, "an entry") if len(path) > 1 else (_File, "the file")
    words = list(where.model_fields)
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(path[-1]), words, n=1)
        mend = f"Did you mean {near[0]}?" if near else f"{known.capitalize()} has: {', '.join(words)}."
        return document.problem(f"{str(path[-1])[:80]!r} is no key of {known}", path, mend)
    name = path[-1] if path else "the document"
    if error["type"] == "string_pattern_mismatch":
        return document.problem(f"{name} must be `f` and 15 hexadecimal digits", path, "Copy it from a report.")
    return document.problem(f"{name}: {error['msg']}", path, f"{known.capitalize()} has: {', '.join(words)}.")
