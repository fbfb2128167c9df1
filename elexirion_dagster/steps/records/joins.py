"""Bring two lists of records together: by hash, every pair, in the order of the records at hand."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.transform import Join
from elexirion_dagster.steps.records.rows import Rows, check_count, identity
from elexirion_dagster.templating.meter import kind

_MOST_FIELDS = 1_000


def joined(join: Join, rows: Rows) -> list[Json]:
    """The records with what agrees with them in the other list, then, for right and full, what agreed with none."""
    others = rows.ctx.evaluate(join.with_)
    if not isinstance(others, list):
        raise InputError(f"{rows.ctx.path}: join with must be a list, got {kind(others)}", mend="Refer to a list.")
    return _Join(join, rows, Rows(rows.ctx, others, lambda index: f"record {index + 1} of `with`")).run()


@dataclass(slots=True)
class _Join:
    """One join under way; a null, or no value, agrees with nothing."""

    join: Join
    rows: Rows
    others: Rows
    partners: list[list[int]] = field(default_factory=list)
    """For each record at hand the positions of those that agree with it."""

    def run(self) -> list[Json]:
        self._match()
        if self.join.how in ("semi", "anti"):
            wanted = self.join.how == "semi"
            return [record for index, record in self.rows if bool(self.partners[index]) is wanted]
        self._check_maps()
        alone, left_out = self._alone(), self._left_out()
        check_count(self.rows.ctx, sum(map(len, self.partners)) + len(alone) + len(left_out), "join")
        empty = self._empty_other() if alone else {}
        found: list[Json] = []
        for index, record in self.rows:
            found += [self._pair(record, self.others.records[at]) for at in self.partners[index]]
            if index in alone:
                found.append({**record, **{key: None for key in empty if key not in record}})
        blank = _fields(self.rows) if left_out else {}
        return found + [self._pair_alone(blank, self.others.records[at]) for at in left_out]

    def _match(self) -> None:
        left, right = self.join.sides()
        positions: dict[Hashable, list[int]] = {}
        for at, value in enumerate(self.others.fields(right)):
            if value is not None:
                positions.setdefault(identity(value), []).append(at)
        for value in self.rows.fields(left):
            self.partners.append([] if value is None else positions.get(identity(value), []))

    def _alone(self) -> set[int]:
        """Positions of the records at hand that stay although nothing agrees with them."""
        if self.join.how not in ("left", "full"):
            return set()
        return {index for index, partners in enumerate(self.partners) if not partners}

    def _left_out(self) -> list[int]:
        """Positions in the other list that stay although nothing agrees with them."""
        if self.join.how not in ("right", "full"):
            return []
        met = {at for partners in self.partners for at in partners}
        return [at for at in range(len(self.others.records)) if at not in met]

    def _pair(self, record: Mapping[str, Json], other: Json) -> Json:
        if self.join.as_ is not None:
            return {**record, self.join.as_: other}
        return {**record, **{key: value for key, value in other.items() if key not in record}}

    def _pair_alone(self, blank: Mapping[str, Json], other: Json) -> Json:
        return {**blank, **(other if self.join.as_ is None else {self.join.as_: other})}

    def _empty_other(self) -> Mapping[str, Json]:
        return {self.join.as_: None} if self.join.as_ is not None else _fields(self.others)

    def _check_maps(self) -> None:
        for rows in (self.rows, *(() if self.join.as_ is not None else (self.others,))):
            for index, record in rows:
                if not isinstance(record, Mapping):
                    raise rows.refuse(index, f"join needs maps, got {kind(record)}", mend="Make maps of them with map.")


def _fields(rows: Rows) -> dict[str, Json]:
    """All fields of all records, each null, in the order in which they first appear."""
    found: dict[str, Json] = {}
    for index, record in rows:
        found.update(dict.fromkeys(record))
        if len(found) > _MOST_FIELDS:
            message = f"the records have more than {_MOST_FIELDS:,} different fields, which a join cannot fill in"
            raise rows.refuse(
                index, message, mend="Map them to fewer fields, or keep the other record whole with `as`."
            )
    return found
