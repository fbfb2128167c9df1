"""Files of labelled rows: JSON lines, YAML or CSV, each row with what would be right."""

from collections.abc import Callable, Sequence
from pathlib import Path

from elexirion_dagster.records import Json
from elexirion_dagster.store.learning import Row


def labelled(
    file: Path,
    pipeline: str,
    step: str,
    *,
    paths: Sequence[str] = (),
    check: Callable[[Json], Sequence[str]] | None = None,
) -> tuple[Row, ...]:
    """The rows of a file in its order. Raises InputError with `file:line` for the first that is wrong.

    `paths` are the inputs that the slot's template refers to (`SlotSpec.inputs`): every row must have them, written
    `{file.text: …}` or nested, and only they are kept. `check` says what is wrong with an expected answer.
    """
    raise NotImplementedError
