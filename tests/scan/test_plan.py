"""What is due after a scan: nothing, unless something that matters changed."""

import subprocess

import pytest

from elexirion_dagster.codebase import ruleset
from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.pins import own_slot
from elexirion_dagster.scan.plan import plan
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scans import known_files
from elexirion_dagster.store.registry.promotions import promote, rollback, try_out
from elexirion_dagster.store.registry.prompts import Canary, save

pytestmark = pytest.mark.slow

TEXT = """
name: house
inputs: {repo: {type: path, default: .}}
model: fake/echo
budget: {usd: 1}
partitions: {by: file, include: ["*.py"], files_per_run: 2}
steps:
  - {name: due, type: files, list: {git: due}}
  - {name: analyze, type: analyze, paths: "{{ steps.due.data.files }}", tools: [ruff]}
  - name: review
    type: for_each
    items: "{{ steps.due.data.files }}"
    as: file
    on_error: collect
    continue_on_error: true
    steps:
      - {name: look, type: llm, system: Look., prompt: "{{ file.path }}"}
outputs: {findings: "{{ steps.analyze.data.findings }}"}
"""


class House:
    """A repository of three files, scanned by a pipeline."""

    def __init__(self, tmp_path, text=TEXT):
        self.root, self.file = tmp_path / "code", tmp_path / "house.yaml"
        self.file.write_text(text)
        self.settings = Settings(home=tmp_path / "home")
        self.root.mkdir()
        self.git("init", "-q", "-b", "main")
        for name in ("a", "b", "c"):
            (self.root / f"{name}.py").write_text(f"{name} = 1\n")
        self.git("add", ".")
        self.git("commit", "-qm", "first")

    def git(self, *words):
        command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words]
        subprocess.run(command, cwd=self.root, check=True, capture_output=True)

    @property
    def pipeline(self):
        return load_string(self.file.read_text()).pipeline

    def plan(self, source="tree", **options):
        return plan(self.pipeline, {"repo": str(self.root)}, self.settings, source=source, **options)

    def due(self, **options):
        return [(one.path, one.reason) for one in self.plan(**options).due]

    def scan(self, number, **options):
        """Scan what is due; returns how the run ended."""
        (batch,) = self.plan(**options).batches(None)
        run_id = f"00000000-0000-4000-8000-{number:012}"
        inputs = {"repo": str(self.root), "batch": batch.to_json()}
        return execute(self.file, inputs, run_id=run_id, tags={}, settings=self.settings)

    def known(self):
        return known_files(open_home(self.settings.home), "house", str(self.root))


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    assert made.scan(1).status == "succeeded"
    return made


def test_nothing_changed_nothing_due(house):
    assert house.due() == []
    assert not house.plan()
    assert list(house.plan().batches(2)) == []
    assert not house.plan(source="head")


def test_one_touched_file_is_the_only_one_due(house):
    (house.root / "b.py").write_text("b = 2\n")
    assert house.due() == [("b.py", "changed")]
    house.scan(2)
    assert house.due() == []


def test_other_rules_make_all_files_due(house, monkeypatch):
    monkeypatch.setattr(ruleset, "SEVERITIES", {**ruleset.SEVERITIES, "ruff": {"": "info"}})
    assert house.due() == [("a.py", "rules"), ("b.py", "rules"), ("c.py", "rules")]


def test_a_new_prompt_or_model_makes_files_stale_oldest_first_within_the_budget(house):
    (house.root / "a.py").write_text("a = 2\n")
    house.scan(2)
    house.file.write_text(TEXT.replace("Look.", "Look twice."))
    found = house.plan()
    assert [(one.path, one.reason) for one in found.due] == [("b.py", "stale"), ("c.py", "stale"), ("a.py", "stale")]
    assert house.due(model="fake/parrot")[0] == ("b.py", "stale")
    assert house.due(model="none") == []


def test_a_review_that_has_a_price_is_repeated_only_as_far_as_the_budget_goes(house, monkeypatch):
    house.file.write_text(TEXT.replace("Look.", "Look twice."))
    monkeypatch.setattr("elexirion_dagster.scan.plan.cost_per_file", lambda *_: 0.4)
    found = house.plan()
    assert [one.path for one in found.due] == ["a.py", "b.py"]
    assert (found.waiting, found.ceiling_usd, found.expected_usd) == (1, 1.0, 0.8)


def better(house):
    (step,) = [inner for step in house.pipeline.steps if step.name == "review" for inner in step.steps]
    base = own_slot(step).version.removeprefix("yaml:")
    home = open_home(house.settings.home)
    return base, save(
        home, "house", "review.look", base_hash=base, system="Better.", examples=[], parent=None, model=None, scores={}
    )


def test_a_canary_makes_nothing_due_and_its_promotion_all_but_what_it_reviewed(house):
    home, (base, version) = open_home(house.settings.home), better(house)
    trial = Canary(version.hash, 0.565, "")
    assert [trial.takes(f"{name}.py") for name in "abc"] == [False, True, False]
    try_out(home, "house", "review.look", version.hash, 0.565, why="tried", by="person")
    assert house.due() == []
    for name in "ab":
        (house.root / f"{name}.py").write_text(f"{name} = 2\n")
    house.scan(2)
    used = {path: known.prompt_version for path, known in house.known().items()}
    assert used == {"a.py": f"yaml:{base}", "b.py": version.hash, "c.py": f"yaml:{base}"}
    assert house.due() == []
    promote(home, "house", "review.look", version.hash, why="better", by="person")
    assert house.due() == [("c.py", "stale"), ("a.py", "stale")]
    rollback(home, "house", "review.look", why="worse", by="watch")
    assert house.due() == [("b.py", "stale")]


def test_a_promoted_prompt_is_another_standard(house):
    home, (_, version) = open_home(house.settings.home), better(house)
    promote(home, "house", "review.look", version.hash, why="better", by="person")
    assert {reason for _, reason in house.due()} == {"stale"}
    house.scan(2)
    assert house.due() == []
    assert house.known()["a.py"].prompt_version == version.hash


def test_a_review_that_failed_is_made_up_for_and_the_file_is_scanned_once(tmp_path):
    house = House(tmp_path, TEXT.replace("{{ file.path }}", "{{ file.nothing }}"))
    house.scan(1)
    known = house.known()["a.py"]
    assert (known.status, known.model) == ("scanned", None)
    house.file.write_text(TEXT)
    assert {reason for _, reason in house.due()} == {"stale"}


def test_everything_is_due_when_asked(house):
    assert house.due(every=True) == [("a.py", "asked"), ("b.py", "asked"), ("c.py", "asked")]


def test_a_scan_that_ends_before_its_last_step_leaves_what_was_known(house):
    (house.root / "b.py").write_text("b = 2\n")
    before = house.known()
    house.file.write_text(TEXT.replace("outputs:", "  - {name: stop, type: command, run: ['false']}\noutputs:"))
    assert house.scan(2).status == "failed"
    assert house.known() == before
    assert house.due() == [("b.py", "changed")]


def test_history_that_was_rewritten_loses_nothing_and_is_told(house):
    house.git("mv", "a.py", "z.py")
    house.git("commit", "-qm", "moved")
    (batch,) = house.plan(source="head").batches(None)
    execute(
        house.file,
        {"repo": str(house.root), "batch": batch.to_json()},
        run_id="00000000-0000-4000-8000-000000000009",
        tags={},
        settings=house.settings,
    )
    house.git("checkout", "-q", "--orphan", "anew")
    house.git("mv", "z.py", "y.py")
    (house.root / "b.py").unlink()
    house.git("add", "-A")
    house.git("commit", "-qm", "anew")
    house.git("branch", "-qD", "main")
    house.git("reflog", "expire", "--expire=now", "--all")
    house.git("gc", "-q", "--prune=now")
    found = house.plan(source="head")
    assert "history was rewritten" in found.notes[0]
    assert (found.due, dict(found.news.renamed), found.news.deleted) == ((), {"z.py": "y.py"}, ["b.py"])


def test_a_batch_survives_its_way_through_the_config():
    batch = Batch("c" * 40, "main", ("a",), {"x": "binary"}, {"o": "n"}, ("d",), "scan", 3)
    assert Batch.from_json(batch.to_json()) == batch
    assert Batch.from_json({}).files is None
    assert Batch.from_json(Batch(files=()).to_json()).files == ()


def test_the_copies_of_a_commits_files_are_gone_after_the_run(house):
    (house.root / "b.py").write_text("b = 3\n")
    house.git("commit", "-qam", "more")
    house.scan(7, source="head")
    assert list(house.settings.home.glob("runs/*/repository")) == []


def test_a_repository_that_is_no_folder_is_refused(house):
    with pytest.raises(ElexirionError, match="is no folder"):
        plan(house.pipeline, {"repo": "/no/such/place"}, house.settings, source="tree")
