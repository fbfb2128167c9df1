"""Slots: how many calls to a provider or model are under way at once, over all processes of one home."""

from elexirion_dagster.store.accounts.ledger_file import LedgerFile, lives

_TABLES = """
CREATE TABLE IF NOT EXISTS slots (
    place INTEGER PRIMARY KEY, name TEXT NOT NULL, pid INTEGER NOT NULL, process_started REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS slots_by_name ON slots (name, place);
"""


class Slots:
    """A line of places per name: the first few are the slots, whoever stands behind them waits.

    One order for all processes, so that none is overtaken for ever; places of dead processes are cleared away.
    """

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        file.create(_TABLES)

    def line_up(self, name: str) -> int:
        """Take the last place of a line."""
        with self._file.transaction() as db:
            sql = "INSERT INTO slots (name, pid, process_started) VALUES (?, ?, ?) RETURNING place"
            place: int = db.execute(sql, (name, *self._file.owner)).fetchone()[0]
        return place

    def is_in(self, name: str, place: int, slots: int) -> bool:
        """Whether the place has moved up into one of so many slots."""
        if self._ahead(name, place) < slots:
            return True
        self._clear_dead(name)
        return self._ahead(name, place) < slots

    def leave(self, places: list[int]) -> None:
        """Give places up."""
        if places:
            with self._file.transaction() as db:
                db.executemany("DELETE FROM slots WHERE place = ?", [(place,) for place in places])

    def _ahead(self, name: str, place: int) -> int:
        ahead: int = self._file.read("SELECT count(*) FROM slots WHERE name = ? AND place < ?", (name, place))[0][0]
        return ahead

    def _clear_dead(self, name: str) -> None:
        owners = self._file.read("SELECT DISTINCT pid, process_started FROM slots WHERE name = ?", (name,))
        dead = [owner for owner in owners if owner != self._file.owner and not lives(owner)]
        if dead:
            with self._file.transaction() as db:
                db.executemany("DELETE FROM slots WHERE pid = ? AND process_started = ?", dead)
