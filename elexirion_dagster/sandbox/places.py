"""Where programs are installed: the places that a command needs to see beside its own files."""

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"),
    *("/nix/store", "/gnu/store", "/run/current-system", "/home/linuxbrew/.linuxbrew"),
)
"""Where operating systems put programs and libraries."""

ETC = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "ld-musl-aarch64.path"),
    *("ssl", "pki", "ca-certificates", "ca-certificates.conf", "crypto-policies"),
    *("hosts", "host.conf", "nsswitch.conf", "resolv.conf", "gai.conf", "services", "protocols"),
    *("localtime", "timezone", "locale.conf", "locale.alias", "mime.types", "magic", "terminfo", "fonts"),
    *("os-release", "debian_version", "redhat-release", "alpine-release", "perl", "java", "shells", "inputrc"),
)
"""What programs need of /etc: libraries, certificates, names, the time zone. No accounts, keys or services."""

TOOLCHAINS: Mapping[str, str] = {
    "ASDF_DATA_DIR": ".asdf",
    "MISE_DATA_DIR": ".local/share/mise",
    "MIX_HOME": ".mix",
    "NVM_DIR": ".nvm",
    "PYENV_ROOT": ".pyenv",
    "RBENV_ROOT": ".rbenv",
    "RUSTUP_HOME": ".rustup",
    "UV_PYTHON_INSTALL_DIR": ".local/share/uv/python",
    "UV_TOOL_DIR": ".local/share/uv/tools",
    "VOLTA_HOME": ".volta",
}
"""Where version managers keep what they installed, below the user's home unless the variable says otherwise."""

_MOST_LINKS = 2000
_SHEBANG_BYTES = 256
_MOST_INTERPRETERS = 3


def toolchains(environ: Mapping[str, str]) -> dict[str, str]:
    """Version managers' folders that are there, by their variables."""
    home = Path(environ.get("HOME") or "~").expanduser()
    folders = {name: Path(environ.get(name) or home / below) for name, below in TOOLCHAINS.items()}
    return {name: str(folder) for name, folder in folders.items() if folder.is_absolute() and folder.is_dir()}


def system() -> Iterator[Path]:
    """The system's own places that are there."""
    yield from (Path(place) for place in SYSTEM if os.path.lexists(place))
    yield from (place for name in ETC if (place := Path("/etc", name)).exists())


def installed(program: str, cwd: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Places outside the system's that hold `program`, its interpreters, the programs on PATH, and toolchains."""
    path = environ.get("PATH", os.defpath)
    managers = tuple(Path(folder) for name, folder in environ.items() if name in TOOLCHAINS)
    return tuple(dict.fromkeys([*managers, *_on_path(path), *_of_program(program, cwd, path)]))


def locate(program: str, cwd: Path, path: str) -> str | None:
    """The file that a program's name stands for, as execvp finds it; None where there is none."""
    if os.sep in program:
        return str(cwd / program) if (cwd / program).exists() else None
    return shutil.which(program, path=path) or shutil.which(program, mode=os.F_OK, path=path)


def in_system(place: Path) -> bool:
    """Whether a place is one of the system's, or in it."""
    return any(place.is_relative_to(one) for one in SYSTEM)


@lru_cache(maxsize=8)
def _on_path(path: str) -> tuple[Path, ...]:
    """The folders of PATH, and where the links in them lead to."""
    found: list[Path] = []
    for folder in (Path(word) for word in path.split(os.pathsep) if os.path.isabs(word)):  # noqa: PTH117 - a text
        if in_system(Path(os.path.realpath(folder))) or not folder.is_dir():
            continue
        found += [folder, *_around(folder)]
        with os.scandir(folder) as entries:
            links = [Path(entry.path) for entry in islice(entries, _MOST_LINKS) if entry.is_symlink()]
        found += [place for link in links for place in _of_file(link)]
    return tuple(dict.fromkeys(found))


def _of_program(program: str, cwd: Path, path: str) -> Iterator[Path]:
    """A program's own places, and those of the interpreters that its first line names."""
    for _ in range(_MOST_INTERPRETERS):
        file = locate(program, cwd, path)
        if file is None:
            return
        yield from _of_file(Path(file))
        interpreter = _interpreter(file)
        if interpreter is None:
            return
        program = interpreter


def _of_file(file: Path) -> Iterator[Path]:
    """Where a program's file is, along its symbolic links."""
    for _ in range(40):
        if not in_system(file.parent):
            yield from _around(file.parent)
            yield file
        try:
            file = file.parent / file.readlink()
        except OSError:
            break
    real = Path(os.path.realpath(file))
    if not in_system(real):
        yield from _around(real.parent)
        yield real


def _around(folder: Path) -> Iterator[Path]:
    """What belongs to the programs of a folder: the prefix that they were installed to, where this can be told."""
    prefix = folder.parent
    if folder.name in ("bin", "sbin", "shims") and not _is_private(prefix):
        is_prefix = folder.name == "shims" or (prefix / "pyvenv.cfg").is_file() or (prefix / "lib").is_dir()
        yield prefix if is_prefix else folder


def _is_private(prefix: Path) -> bool:
    """Whether a folder holds more than programs, although there is a `bin` in it."""
    home = Path.home()
    return home.is_relative_to(prefix) or prefix == home / ".local" or (prefix / ".git").exists()


def _interpreter(file: str) -> str | None:
    """What the first line of a script names."""
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - a text
            first = opened.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        return None
    words = first.removeprefix(b"#!").split()
    if not first.startswith(b"#!") or not words:
        return None
    if words[0].endswith(b"/env"):
        words = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word] or words
    return os.fsdecode(words[0])
