"""Where pipelines are looked up: the current folder, $ELEXIRION_PIPELINES, the package.

A folder that the user named in the setting may replace a pipeline of the package. The current folder may not: it may
be somebody else's repository.
"""

from difflib import get_close_matches
from pathlib import Path

from elexirion_dagster.dialects.library import KnownFiles, Refused, refusal
from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings

SUFFIXES = (".yaml", ".yml")


def shipped() -> Path:
    """The folder of the pipelines that come with the package."""
    package = Path(__file__).parent.parent
    inside = package / "pipelines_yaml"
    return (inside if inside.is_dir() else package.parent / "pipelines_yaml").resolve()


def find_all(settings: Settings) -> KnownFiles:
    """Every pipeline file by its stem. A stem that the current folder shares with another one is refused."""
    here = (Path.cwd() / "pipelines_yaml").resolve()
    named = [folder.resolve() for folder in (shipped(), settings.pipelines) if folder is not None]
    others = {stem: file for folder in named for stem, file in _files(folder).items()}
    own = {} if here in named else _files(here)
    refused = {stem: Refused(own[stem], _replaces(own[stem], others[stem])) for stem in own if stem in others}
    usable = {stem: file for stem, file in {**own, **others}.items() if stem not in refused}
    return KnownFiles(usable, refused)


def _files(folder: Path) -> dict[str, Path]:
    """The pipeline files of a folder by stem."""
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()):
        found.setdefault(file.stem, file)
    return found


def _replaces(own: Path, other: Path) -> InputError:
    return InputError(
        f"{own} has the name of {other}, and a pipeline of the current folder does not replace another one",
        mend=f"Rename it (the file and its `name`), or let its folder replace pipelines: "
        f"ELEXIRION_PIPELINES={own.parent}.",
    )


def find(target: str, settings: Settings) -> Path:
    """The file of a pipeline that is given by path or by name. Raises InputError with the nearest name."""
    path = Path(target)
    if path.suffix in (*SUFFIXES, ".json") or "/" in target:
        if not path.is_file():
            raise InputError(
                f"the file {target} does not exist",
                mend="Give the path of a pipeline, or a name from `elexirion list`.",
            )
        return path.resolve()
    known = find_all(settings)
    if error := refusal(known, target):
        raise error
    if target not in known:
        close = get_close_matches(target, known, n=1)
        mend = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known) or 'none'}."
        raise InputError(f"there is no pipeline {target!r}", mend=mend)
    return known[target]
