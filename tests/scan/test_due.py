from datetime import UTC, datetime

from elexirion_dagster.scan.due import due
from elexirion_dagster.scan.standard import Standard
from elexirion_dagster.store.nights.scans import KnownFile

NOW = Standard("rules", "fake/echo", "yaml:1")


def known(blob, ruleset="rules"):
    return KnownFile(blob, ruleset, "fake/echo", "yaml:1", datetime(2026, 1, 1, tzinfo=UTC), "scanned")


def test_a_file_that_changed_is_due_beside_the_blob_its_last_scan_saw_under_whatever_name():
    seen = {"a.py": known("a1"), "old.py": known("b1"), "same.py": known("c1", "other rules")}
    must, _ = due(
        {"a.py": "a2", "new.py": "b2", "same.py": "c1", "fresh.py": "d1"}, seen, {"old.py": "new.py"}, NOW, every=False
    )
    assert [(one.path, one.reason, one.before) for one in must] == [
        ("a.py", "changed", "a1"),
        ("fresh.py", "new", None),
        ("new.py", "changed", "b1"),
        ("same.py", "rules", None),
    ]
