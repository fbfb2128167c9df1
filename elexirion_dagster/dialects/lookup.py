"""Where pipelines are looked up: the folder one works in, $ELEXIRION_PIPELINES, the package."""

from difflib import get_close_matches
from pathlib import Path

from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings

SUFFIXES = (".yaml", ".yml")


def shipped() -> Path:
    """The folder of the pipelines that come with the package."""
    package = Path(__file__).parent.parent
    inside = package / "pipelines_yaml"
    return (inside if inside.is_dir() else package.parent / "pipelines_yaml").resolve()


def folders(settings: Settings) -> list[Path]:
    """The folders that are looked through, first to last."""
    own = [Path.cwd() / "pipelines_yaml", *([settings.pipelines] if settings.pipelines else [])]
    found = [folder.resolve() for folder in (*own, shipped()) if folder.is_dir()]
    return list(dict.fromkeys(found))


def find_all(settings: Settings) -> dict[str, Path]:
    """Every pipeline file by its stem; the first folder that has a stem wins."""
    files: dict[str, Path] = {}
    for folder in folders(settings):
        for file in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()):
            files.setdefault(file.stem, file)
    return files


def find(target: str, settings: Settings) -> Path:
    """The file of a pipeline that is given by path or by name. Raises InputError with the nearest name."""
    path = Path(target)
    if path.suffix in (*SUFFIXES, ".json") or "/" in target:
        if not path.is_file():
            raise InputError(
                f"there is no file {target}", mend="Give the path of a pipeline, or a name from `elexirion list`."
            )
        return path.resolve()
    known = find_all(settings)
    if target not in known:
        close = get_close_matches(target, known, n=1)
        mend = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known) or 'none'}."
        raise InputError(f"there is no pipeline {target!r}", mend=mend)
    return known[target]
