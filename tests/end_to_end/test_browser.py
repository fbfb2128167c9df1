"""The Dagster UI in headless Chromium: graph, Launchpad, a finished run; the README's screenshots."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium
from playwright.sync_api import Page, expect
from serving import Ui

from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.operations.pipelines import scan_file
from optimizer_assets.assets import GATE

pytestmark = [pytest.mark.slow, pytest.mark.browser]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
KEEP = bool(os.environ.get("ELEXIRION_SCREENSHOTS"))
EXAMPLES = Path(__file__).parents[1] / "data" / "bandit_examples" / "examples"
LOCATION = "locations/elexirion_dagster"
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(SLOW_MS)
        yield page


@pytest.fixture
def screenshot(page: Page, tmp_path: Path):
    """Take a picture: for the README when ELEXIRION_SCREENSHOTS is set, else to throw away."""
    folder = IMAGES if KEEP else tmp_path

    def take(name: str) -> None:
        page.mouse.move(0, 0)
        page.wait_for_timeout(1500)  # transitions and late dialogs
        assert not page.get_by_role("dialog").count()
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        assert 20_000 < path.stat().st_size < 300_000

    return take


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git working tree with hundreds of findings."""
    folder = tmp_path_factory.mktemp("work") / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("long_set.py"))
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_the_graph_of_a_job_is_the_yaml(ui: Ui, page: Page, screenshot):
    page.goto(f"{ui.url}/{LOCATION}/jobs/nightly_scan")
    for step in load_any(scan_file()).pipeline.steps:
        expect(page.get_by_text(step.name, exact=True).first).to_be_visible(timeout=SLOW_MS)
    screenshot("graph")


def test_the_launchpad_offers_the_inputs_with_their_defaults(ui: Ui, page: Page, screenshot):
    page.goto(f"{ui.url}/{LOCATION}/jobs/nightly_scan/playground")
    editor = page.locator(".CodeMirror").first
    expect(editor).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text("review_tokens").first).to_be_visible(timeout=SLOW_MS)
    screenshot("launchpad")


def test_a_run_started_in_the_launchpad_is_followed_live(ui: Ui, page: Page):
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    page.goto(f"{ui.url}/{LOCATION}/jobs/naps/playground")
    page.get_by_role("button", name="Launch run").click()
    page.wait_for_url("**/runs/**")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=SLOW_MS)
    assert any("ExecutionStepSuccessEvent" in frame for frame in frames)  # the log's lines came by websocket


def test_a_finished_run_shows_its_timeline_and_what_each_op_did(ui: Ui, page: Page, examples: Path, screenshot):
    run_id = ui.started("nightly_scan", repo=str(examples))
    assert ui.finished(run_id)["status"] == "SUCCESS"
    page.goto(f"{ui.url}/runs/{run_id}?logs=step%3Aanalyze")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text(re.compile("^findings$")).first).to_be_visible(timeout=SLOW_MS)
    screenshot("run")


def test_the_prompt_of_a_slot_stands_behind_its_candidate_and_the_gate(ui: Ui, page: Page):
    page.goto(f"{ui.url}/locations/optimizer_assets/asset-groups/prompts")
    for name in ("report_version", "candidate", "read"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=SLOW_MS)
    page.goto(f"{ui.url}/assets/prompts/report_version/read/candidate?view=checks")
    for check in GATE:
        expect(page.get_by_text(check, exact=True).first).to_be_visible(timeout=SLOW_MS)
