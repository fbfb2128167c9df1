import os
from datetime import UTC, datetime, timedelta

from elexirion_dagster.store.holding import held
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.prune import prune

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def age(path, days):
    stamp = (NOW - timedelta(days=days)).timestamp()
    for each in [path, *path.rglob("*")]:
        os.utime(each, (stamp, stamp), follow_symlinks=False)


def test_prune_removes_only_old_workspaces_and_reports(tmp_path):
    home = open_home(tmp_path)
    for run, days in (("old", 31), ("young", 29)):
        (home.workspace(run) / "deep").mkdir(parents=True)
        (home.workspace(run) / "deep" / "file").write_bytes(b"x" * 1000)
        home.report(run).mkdir()
        age(home.workspace(run), days)
        age(home.report(run), days)
    (home.journal / "old").mkdir()
    age(home.journal / "old", 400)
    report = prune(home, older_than_days=30, now=NOW)
    assert (report.workspaces, report.reports) == (1, 1)
    assert report.freed_bytes == 1000
    assert not home.workspace("old").exists()
    assert not home.report("old").exists()
    assert (home.workspace("young") / "deep" / "file").exists()
    assert home.report("young").exists()
    assert (home.journal / "old").exists()


def test_prune_keeps_an_old_workspace_in_which_something_changed_lately(tmp_path):
    home = open_home(tmp_path)
    (home.workspace("r") / "deep").mkdir(parents=True)
    age(home.workspace("r"), 90)
    (home.workspace("r") / "deep" / "file").write_text("new")
    os.utime(home.workspace("r") / "deep", (0, 0))
    stamp = NOW.timestamp()
    os.utime(home.workspace("r") / "deep" / "file", (stamp, stamp))
    assert prune(home, older_than_days=30, now=NOW).workspaces == 0


def test_prune_never_follows_a_link_out_of_the_home(tmp_path):
    home, precious = open_home(tmp_path / "home"), tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep")
    home.workspace("linked").symlink_to(precious)
    home.workspace("holder").mkdir()
    (home.workspace("holder") / "link").symlink_to(precious)
    age(home.workspace("holder"), 90)
    os.utime(home.workspace("linked"), (0, 0), follow_symlinks=False)
    age(precious, 90)
    prune(home, older_than_days=30, now=NOW)
    assert list(home.runs.iterdir()) == []
    assert (precious / "file").read_text() == "keep"


def test_prune_leaves_the_workspace_of_a_run_that_is_under_way_however_old(tmp_path):
    home = open_home(tmp_path)
    with held(home.workspace("r")), held(home.workspace("r")):
        (home.workspace("r") / "file").write_text("x")
        age(home.workspace("r"), 90)
        report = prune(home, older_than_days=30, now=NOW)
        assert (report.workspaces, report.kept) == (0, (home.workspace("r"),))
        assert (home.workspace("r") / "file").exists()
    assert prune(home, older_than_days=30, now=NOW).workspaces == 1


def test_a_folder_is_held_alone_only_by_one(tmp_path):
    with held(tmp_path / "a") as first:
        with held(tmp_path / "a"):
            assert not first.alone()
        assert first.alone()


def test_prune_keeps_what_is_not_released(tmp_path):
    home = open_home(tmp_path)
    home.workspace("r").mkdir()
    age(home.workspace("r"), 90)
    report = prune(home, older_than_days=30, now=NOW, release=lambda _: False)
    assert (report.workspaces, report.kept) == (0, (home.workspace("r"),))
    assert home.workspace("r").is_dir()
