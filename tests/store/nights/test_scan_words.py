"""What people and the repository's own file say of findings."""

from scanned import PIPELINE, REPO, found

from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.journal import JournalWriter


def judge(repository, path, verdict, **more):
    ingest(repository.home)
    sql = "SELECT finding, fingerprint FROM finding_states WHERE path = ?"
    ((finding, mark),) = query(repository.home, sql, [path]).rows
    with JournalWriter(repository.home, root_run=f"findings-{next(repository.batches)}", run="said") as journal:
        place = {"finding": finding, "fingerprint": mark, "pipeline": PIPELINE, "repo": REPO, "path": path}
        journal.append("feedback", durable=True, **place, verdict=verdict, **more)


def test_a_person_s_word_goes_with_the_finding_and_the_last_word_counts(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py")])
    judge(repository, "a.py", "suppressed", reason="tests only", owner="ada")
    judge(repository, "b.py", "rejected", comment="constant")
    repository.scan({"c.py": "1"}, findings=[found("c.py")], renamed={"a.py": "c.py"})
    columns = "path, state, verdict, reason, owner"
    assert repository.states(columns) == [
        ("b.py", "suppressed", "rejected", "constant", None),
        ("c.py", "suppressed", "suppressed", "tests only", "ada"),
    ]
    judge(repository, "c.py", "accepted")
    judge(repository, "b.py", "accepted")
    assert repository.states("path, state, verdict") == [("b.py", "open", "accepted"), ("c.py", "open", "accepted")]


def test_a_suppression_ends_with_its_day_and_a_copy_of_a_suppressed_finding_is_new(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py")])
    judge(repository, "a.py", "suppressed", reason="later", expires="2020-01-31")
    assert repository.states("state") == [("new",)]
    judge(repository, "a.py", "suppressed", reason="later", expires="2999-01-31")
    repository.scan({"a.py": "2", "b.py": "1"}, findings=[found("a.py"), found("a.py", number=2), found("b.py")])
    assert repository.states("path, state") == [("a.py", "new"), ("a.py", "suppressed"), ("b.py", "new")]


def test_an_entry_of_the_repository_s_file_covers_one_finding_and_the_newest_file_counts(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py")])
    mark = found("a.py")["fingerprint"]

    def write(*entries):
        with JournalWriter(repository.home, root_run=f"s{next(repository.batches)}", run="s") as journal:
            journal.append("suppressions", pipeline=PIPELINE, repo=REPO, commit="c", entries=list(entries))

    write({"fingerprint": mark, "path": None, "reason": "fine", "owner": "ada", "expires": None})
    assert repository.states("path, state, suppressed_by") == [("a.py", "suppressed", "file"), ("b.py", "new", None)]
    write({"fingerprint": mark, "path": "b.py", "reason": "fine", "owner": "ada", "expires": "2020-01-01"})
    assert repository.states("path, state") == [("a.py", "new"), ("b.py", "new")]
    write({"fingerprint": mark, "path": "b.py", "reason": "fine", "owner": "ada", "expires": "2999-01-01"})
    assert repository.states("path, state, owner") == [("a.py", "new", None), ("b.py", "suppressed", "ada")]
    write()
    assert repository.states("state") == [("new",), ("new",)]
