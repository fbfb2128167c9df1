"""What every test has: a home of its own, an environment without keys, no way out of this machine."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from learnable import play  # noqa: F401 - fixture
from rehearsed import run_one, start_run  # noqa: F401 - fixtures

REPOSITORY = Path(__file__).parents[1]
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_OURS = ("ELEXIRION_", "ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "DAGSTER_", "DSPY_")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
NOBODY = 65534


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connecting to another machine fails at once."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def check(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOOPBACK:
                raise PermissionError(f"tests may not reach {address[0]}")
            return real(self, address)

        return check

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(connect))
        patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and children inherit that; those of tests must hear it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def clean_environ() -> dict[str, str]:
    """This process's environment without keys and without our own settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and not any(word in name.upper() for word in _SECRET)
    }


@pytest.fixture
def home_path(tmp_path: Path) -> Path:
    """Where this test's home is, or will be."""
    return tmp_path / "elexirion_home"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, clean_environ: dict[str, str], home_path: Path) -> None:
    """Nothing of the user's own settings or keys reaches a test."""
    for name in set(os.environ) - set(clean_environ) - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ELEXIRION_HOME", str(home_path))


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """Root may read and write everywhere: be somebody else for a while."""

    @contextmanager
    def enter() -> Iterator[None]:
        was = os.geteuid()
        os.seteuid(NOBODY if was == 0 else was)
        try:
            yield
        finally:
            os.seteuid(was)

    return enter


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def environ(clean_environ: dict[str, str], home_path: Path) -> dict[str, str]:
    """The environment of a child process of this test."""
    return {**clean_environ, "ELEXIRION_HOME": str(home_path), "PYTHONPATH": str(REPOSITORY)}


Elexirion = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_elexirion(environ: dict[str, str], tmp_path: Path) -> Iterator[Elexirion]:
    """Start the command in a process of its own; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *args: object, cwd: Path = tmp_path, env: Mapping[str, str] = {}, **options: Any
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "elexirion_dagster.cli.main", *map(str, args)],
            cwd=cwd,
            env={**environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def elexirion(start_elexirion: Elexirion) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a process of its own to its end."""

    def run(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        process = start_elexirion(*args, **options)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def git_repository(tmp_path: Path) -> Path:
    """A small working tree with three findings worth the name, one of them in an untracked file."""
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "shell.py").write_text(
        "import subprocess\n\n\ndef run(text):\n    subprocess.call(text, shell=True)\n"
    )
    (folder / "src" / "clean.py").write_text("def double(number):\n    return 2 * number\n")
    (folder / "broken.py").write_text("def (:\n")
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    (folder / "untracked.py").write_text("eval(input())\n")
    return folder
