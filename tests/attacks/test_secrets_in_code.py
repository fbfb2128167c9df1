"""Every known kind of secret in code that is analyzed, read, quoted and reported: none is kept or sent."""

import uuid

import pytest
from kept_bytes import places

from elexirion_dagster.operations.launch import execute
from elexirion_dagster.operations.models import model_tags
from elexirion_dagster.providers import catalog
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import ToolUseBlock
from elexirion_dagster.redact import kinds
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import open_home

SHAPED = [parts for kind in kinds() if not kind.is_named for parts in kind.masked]
TEXTS = ["".join(parts) for parts in SHAPED]
SECRETS = [secret for _, *parts, _ in SHAPED if len(secret := "".join(parts)) > 12]
PIPELINE = """
name: quotes
inputs: {repo: {type: path}}
model: fake
steps:
- {name: listed, type: files, list: {root: "{{ inputs.repo }}"}}
- {name: analyze, type: analyze, paths: "{{ steps.listed.data.files }}"}
- {name: shell, type: command, run: [cat, "{{ inputs.repo }}/code.py"]}
- {name: read, type: files, read: {path: "{{ inputs.repo }}/code.py"}}
- {name: review, type: llm, tools: [read, grep], prompt: "{{ steps.listed.data.files[0].text }} {{ inputs.repo }}"}
outputs:
  findings: "{{ steps.analyze.data.findings }}"
  review: "{{ steps.review.text }}"
"""


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A model that reads the file with tools, and then says all it has of secrets, line by line as it comes."""
    read = ToolUseBlock("1", "read", {"path": str(tmp_path / "repo" / "code.py")})
    rules = [Rule(tools=(read,), times=1), Rule(text="\n".join([*TEXTS, "end"]))]
    fake = FakeProvider(rules)
    entry = catalog._Entry(  # noqa: SLF001 - the catalogue's own form
        open=lambda _: fake, configured=lambda _: True, default_model=lambda _: "fake", mend=""
    )
    monkeypatch.setattr(catalog, "_ENTRIES", {**catalog._ENTRIES, "fake": entry})  # noqa: SLF001 - as above
    return fake


def test_no_secret_in_code_reaches_a_model_a_journal_or_a_report(model, tmp_path, home_path, capfd):
    (tmp_path / "repo").mkdir()
    code = "".join(f"x = eval({text!r})\n" for text in TEXTS)
    (tmp_path / "repo" / "code.py").write_text(code, encoding="utf-8")
    file = tmp_path / "quotes.yaml"
    file.write_text(PIPELINE, encoding="utf-8")
    finished = execute(
        file,
        {"repo": str(tmp_path / "repo")},
        run_id=str(uuid.uuid4()),
        tags=model_tags(None, stream=True),
        settings=Settings(home=home_path),
    )
    assert finished.status == "succeeded", finished.message
    ingest(open_home(home_path))
    assert set(finished.reports) >= {"json", "md", "html", "sarif"}
    assert len(finished.report.findings) >= len(TEXTS)
    assert places(home_path, *SECRETS) == []
    shown = f"{finished}{''.join(capfd.readouterr())}{[str(request) for request in model.requests]}"
    assert [secret for secret in SECRETS if secret in shown] == []
    assert len(model.requests) == 2
