from pathlib import Path

import pytest

from elexirion_dagster.codebase.confine import confine
from elexirion_dagster.errors import InputError, PolicyError


def test_a_path_inside_is_its_real_place_even_where_nothing_is_yet(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "short").symlink_to("real")

    assert confine(tmp_path, "new/file.txt") == tmp_path / "new" / "file.txt"
    assert confine(tmp_path, "short/file.txt") == tmp_path / "real" / "file.txt"
    assert confine(tmp_path, ".") == tmp_path


def test_the_root_itself_may_be_reached_through_a_link(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")

    assert confine(tmp_path / "alias", "a.txt") == tmp_path / "real" / "a.txt"


@pytest.mark.parametrize(
    "path", ["..", "a/../../b", "a/..", "/etc/passwd", "", "out/new.txt", "hole", "self/x", "nul\0", "//etc/passwd"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str):
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "hole").symlink_to("/nowhere/to/be/found")
    (root / "self").symlink_to("self")

    with pytest.raises(PolicyError) as caught:
        confine(root, path)
    assert caught.value.cause == "tool_denied"
    assert caught.value.mend


def test_a_root_that_is_gone_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        confine(tmp_path / "gone", "a")
