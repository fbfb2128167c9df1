"""The text of listed files: read where it was granted, and nowhere else."""

import os
from pathlib import Path

import pytest

from elexirion_dagster.codebase.files import read_text
from elexirion_dagster.errors import InputError, PolicyError


def record(root: Path, path: str) -> dict[str, str]:
    return {"root": str(root), "path": path}


def test_text_is_read_where_the_root_was_granted(tmp_path: Path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "a.py").write_bytes(b"\xef\xbb\xbfx = 'gr\xc3\xbc\xc3\x9fe'\r\n")

    assert read_text(record(tmp_path / "repo", "a.py"), granted=[tmp_path]) == "x = 'grüße'\r\n"
    with pytest.raises(PolicyError) as caught:
        read_text(record(tmp_path / "repo", "a.py"), granted=[tmp_path / "other"])
    assert caught.value.cause == "tool_denied"


def test_bytes_that_are_no_text_are_replaced_and_the_reader_is_told(tmp_path: Path):
    (tmp_path / "a.py").write_bytes(b"caf\xe9\n")

    text = read_text(record(tmp_path, "a.py"), granted=[tmp_path])

    assert text == "caf\ufffd\n\n[not UTF-8: 1 places were replaced by U+FFFD]\n"


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "link.py", "folder/outside.py", "", "a\0b"])
def test_no_path_leads_out_of_the_root(tmp_path: Path, path: str):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.py").write_text("secret")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "folder").symlink_to(tmp_path)

    with pytest.raises(PolicyError):
        read_text(record(root, path), granted=[tmp_path])


def test_a_root_that_is_a_link_out_of_what_was_granted_is_refused(tmp_path: Path):
    (tmp_path / "granted").mkdir()
    (tmp_path / "a.py").write_text("secret")
    (tmp_path / "granted" / "root").symlink_to(tmp_path)

    with pytest.raises(PolicyError):
        read_text(record(tmp_path / "granted" / "root", "a.py"), granted=[tmp_path / "granted"])


@pytest.mark.parametrize("name", ["gone.py", "folder", "fifo", "large.py", "."])
def test_what_is_no_readable_text_file_is_refused_with_a_way_out(tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large.py").write_text("x" * 1025)

    with pytest.raises(InputError) as caught:
        read_text(record(tmp_path, name), granted=[tmp_path], max_kb=1)
    assert caught.value.mend
