"""The key of a provider that was added as CONTRIBUTING says turns up nowhere, whatever the model does."""

import json
import uuid
from urllib.parse import quote

import pytest
from kept_bytes import places
from pydantic import SecretStr

from elexirion_dagster.operations.feedback import Word, say
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.providers import catalog
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import ToolUseBlock
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import open_home

KEY = "n3wc0/Kq7+Zt'5v shaped like nothing"
OTHER = "0ther-passw0rd-of-a-database"
USER_INFO = "pa55-of-the-proxy"
RUN = "0a0a0a0a-0000-4000-8000-00000000000a"
PIPELINE = """
name: leaks
description: Every way in which a model's answer or failure could carry the key.
env: [SERVICE_TOKEN, SERVICE_URL]
model: newco/any
score:
  wrong: {of: says, value: "{{ steps.says.text }}"}
steps:
- {name: says, type: llm, prompt: say it}
- {name: typed, type: llm, prompt: typed, output: {a: string}}
- {name: tool, type: llm, prompt: use a tool, tools: [read, write], continue_on_error: true}
- {name: refused, type: llm, prompt: refuse it, continue_on_error: true}
- {name: crashes, type: llm, prompt: crash with it, continue_on_error: true}
- {name: each, type: for_each, items: ["{{ steps.says.text }}"], continue_on_error: true, steps: [
    {name: again, type: llm, prompt: "say it about {{ item }}"}]}
- {name: shell, type: command, continue_on_error: true, output_to: said.txt,
   run: [sh, -c, "echo $KEY; echo $KEY >&2; exit 3"], env: {KEY: "{{ env.SERVICE_TOKEN }} {{ steps.says.text }}"}}
- {name: vars, type: set, vars: {x: "{{ env.SERVICE_TOKEN }} at {{ env.SERVICE_URL }}"}}
- {name: wrong, type: set, vars: {x: "{{ env.SERVICE_TOKEN | date }}"}, continue_on_error: true}
outputs:
  said: "{{ steps.says.text }} {{ env.SERVICE_TOKEN }}"
  data: "{{ steps.typed.data }}"
"""


class Newco(Settings):
    """Our settings with one more provider's key."""

    newco_api_key: SecretStr | None = None
    """`NEWCO_API_KEY`."""


class NewcoProvider(FakeProvider):
    """A model that gives away its key in every way it can; it does not take it out of its errors."""

    name = "newco"

    def __init__(self, key):
        says = Rule(text=f"the key is {key}, in a URL {quote(key, safe='')}, in JSON {json.dumps(key)}")
        super().__init__(
            [
                Rule(match="use a tool", times=1, tools=(ToolUseBlock("1", "write", {"path": "k", "content": key}),)),
                Rule(match="use a tool", times=1, tools=(ToolUseBlock("2", "read", {"path": key}),)),
                Rule(match="refuse", error=ProviderError(f"{key} is wrong", cause="auth", category=key, mend=key)),
                Rule(match="typed", data={"a": key}),
                says,
            ]
        )
        self._key = key

    def send(self, request, **options):
        if "crash with it" in str(request):
            raise ValueError(self._key)
        return super().send(request, **options)


@pytest.fixture
def settings(home_path, monkeypatch):
    entry = catalog._Entry(  # noqa: SLF001 - what a new provider adds to the file
        open=lambda settings: NewcoProvider(settings.newco_api_key.get_secret_value()),
        configured=lambda settings: settings.newco_api_key is not None,
        default_model=lambda _: "any",
        mend="Set NEWCO_API_KEY.",
    )
    monkeypatch.setattr(catalog, "_ENTRIES", {**catalog._ENTRIES, "newco": entry})  # noqa: SLF001 - as above
    environ = {"SERVICE_TOKEN": OTHER, "SERVICE_URL": f"https://me:{USER_INFO}@proxy.example.org/v1"}
    return Newco(home=home_path, newco_api_key=SecretStr(KEY), environ=environ)


def test_no_key_is_kept_or_shown_whatever_the_model_does(settings, tmp_path, capfd):
    file = tmp_path / "leaks.yaml"
    file.write_text(PIPELINE, encoding="utf-8")
    finished = execute(file, {}, run_id=RUN, tags={"note": f"{KEY}"}, settings=settings)
    say(settings, RUN, "says", Word("good", f"it said {KEY}"))
    ingest(open_home(settings.home))
    assert finished.status == "succeeded", finished.message
    assert "[redacted:secret]" in finished.outputs["said"]
    out, err = capfd.readouterr()
    # What a step writes into its workspace is its own affair: nothing is taken out of files.
    kept = [place for place in places(settings.home, *spelled(KEY), OTHER, USER_INFO) if "workspaces/" not in place]
    assert kept == []
    assert not [secret for secret in (*spelled(KEY), OTHER, USER_INFO) if secret in f"{out}{err}{finished}"]


def test_a_run_that_fails_does_not_tell_the_key_either(settings, tmp_path, capfd):
    file = tmp_path / "fails.yaml"
    for name, step in (
        ("refused", "prompt: refuse it"),
        ("crashes", "prompt: crash with it"),
    ):
        file.write_text(f"name: fails\nmodel: newco/any\nsteps: [{{name: {name}, type: llm, {step}}}]", "utf-8")
        finished = execute(file, {}, run_id=str(uuid.uuid4()), tags={}, settings=settings)
        assert (finished.status, "[redacted:secret]" in finished.message) == ("failed", True)
    file.write_text(
        "name: fails\nenv: [SERVICE_TOKEN]\nsteps: [{name: s, type: set, vars: {x: 1}}]\n"
        'outputs: {x: "{{ env.SERVICE_TOKEN | date }}"}',
        "utf-8",
    )
    finished = execute(file, {}, run_id=str(uuid.uuid4()), tags={}, settings=settings)
    assert finished.status == "failed"
    ingest(open_home(settings.home))
    out, err = capfd.readouterr()
    assert places(settings.home, *spelled(KEY), OTHER) == []
    assert not [secret for secret in (*spelled(KEY), OTHER) if secret in f"{out}{err}{finished}"]


def spelled(key):
    return {key, quote(key, safe=""), json.dumps(key)[1:-1]}
