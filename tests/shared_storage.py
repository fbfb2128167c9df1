"""A storage of another kind than Dagster's default, as one on Postgres is."""

from dagster._core.storage.sqlite_storage import DagsterSqliteStorage


class SharedStorage(DagsterSqliteStorage):
    """Keeps in SQLite what several machines could reach."""

    @classmethod
    def from_config_value(cls, inst_data, config_value):
        return cls(inst_data=inst_data, **config_value)
