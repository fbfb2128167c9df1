"""A code base that is asked about: its files, those chosen among them, and an answer's form."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from elexirion_dagster.codebase.files import FileList, list_files
from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.codebase.languages import language_of
from elexirion_dagster.codebase.query.catalog import RULES
from elexirion_dagster.codebase.query.survey import Means, Record, Unread
from elexirion_dagster.errors import InputError

MOST_RECORDS = 200_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Records in the order of paths and lines, and what could not be read, in full or at all."""

    records: list[Record]
    unparsed: list[Record]


@dataclass(frozen=True, slots=True)
class Code:
    """A code base: all its files, and those that are asked about."""

    root: Path
    listed: FileList
    chosen: list[Record]
    skipped: list[Unread]
    languages: frozenset[str]
    means: Means

    def source(self) -> list[Record]:
        """The chosen files that are written in one of the languages."""
        return [file for file in self.chosen if file["language"] in self.languages]

    def bound(self, records: int) -> None:
        """Raise InputError where an answer would have too many records."""
        if records > MOST_RECORDS:
            raise InputError(
                f"the answer has more than {MOST_RECORDS:,} records",
                mend="Ask about fewer files with include, exclude or languages.",
            )

    def answer(self, records: list[Record], unread: Sequence[Unread]) -> Answer:
        """Put an answer together. Raises InputError where it is too long."""
        self.bound(len(records))
        named = sorted([*self.skipped, *unread], key=lambda one: one.path)
        return Answer(records, [asdict(one) for one in named])


def open_code(
    root: Path, *, include: Sequence[str], exclude: Sequence[str], languages: Sequence[str], means: Means
) -> Code:
    """List the files that git tracks below `root` and choose among them. Raises InputError as `list_files` does."""
    listed = list_files(root, cancelled=means.cancelled)
    wanted, unwanted = matcher(include), matcher(exclude)
    known = frozenset(languages or RULES)

    def chosen(path: str) -> bool:
        return (not include or wanted(path)) and not unwanted(path)

    files = [file for file in listed.files if chosen(file["path"]) and (not languages or file["language"] in known)]
    skipped = [
        Unread(one["path"], None, one["reason"])
        for one in listed.skipped
        if chosen(one["path"]) and language_of(one["path"], b"") in known
    ]
    return Code(root.resolve(), listed, files, skipped, known, means)
