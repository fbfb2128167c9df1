import queue
import re
import threading

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.steps.partials import Partials

KEY = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz"


class Heard:
    """What was told and shown, and waiting for more of it."""

    def __init__(self):
        self.told = queue.Queue()
        self.shown = queue.Queue()

    def partials(self, *, stream=True, after_s=0.0):
        def show(path, text):
            self.shown.put((path, text))

        tell = lambda path, note: self.told.put((path, note))  # noqa: E731
        return Partials(Redactor(), tell, show if stream else None, after_s=after_s, every_s=0.01)

    def all_shown(self):
        found = []
        while not self.shown.empty():
            found.append(self.shown.get()[1])
        return "\n".join(found)


@pytest.fixture
def heard():
    return Heard()


def test_whole_lines_are_shown_while_the_answer_comes_in_and_the_rest_at_its_end(heard):
    with heard.partials() as partials:
        with partials.hearing("ask") as on_text:
            on_text("one\ntw")
            assert heard.shown.get(timeout=10) == ("ask", "one")
            on_text("o\nthree")
            assert heard.shown.get(timeout=10) == ("ask", "two")
        assert heard.shown.get(timeout=10) == ("ask", "three")


def test_a_secret_in_pieces_is_never_shown(heard):
    with heard.partials() as partials, partials.hearing("ask") as on_text:
        for piece in ("one\nthe key ", KEY[:12], KEY[12:], " is it\nlast"):
            on_text(piece)
            heard.told.get(timeout=10)
    assert heard.all_shown() == "one\nthe key [redacted:anthropic_key] is it\nlast"


def test_what_is_left_of_an_attempt_that_breaks_off_is_not_shown(heard):
    def broken(partials):
        with partials.hearing("ask") as on_text:
            on_text(f"one\n{KEY[:14]}")
            heard.shown.get(timeout=10)
            raise ConnectionError

    with heard.partials() as partials, pytest.raises(ConnectionError):
        broken(partials)
    assert heard.all_shown() == ""


def test_long_calls_are_told_in_one_line_with_the_longest_first(heard):
    with heard.partials(stream=False) as partials, partials.hearing("a[1].ask") as first:
        path, note = heard.told.get(timeout=10)
        assert path == "a[1].ask"
        assert re.fullmatch(r"a\[1\]\.ask: \d+ s, no text yet", note)
        with partials.hearing("a[2].ask") as second:
            first("four")
            second("and six")
            while not note.endswith("11 characters so far"):
                path, note = heard.told.get(timeout=10)
            assert path == "a[1].ask"
            assert re.fullmatch(r"a\[1\]\.ask and 1 more: \d+ s, 11 characters so far", note)
    assert heard.shown.empty()


def test_short_calls_are_not_told(heard):
    with heard.partials(after_s=3600) as partials, partials.hearing("ask") as on_text:
        on_text("one\n")
        heard.shown.get(timeout=10)
    assert heard.told.empty()


def test_nothing_runs_on_after_the_op_and_nothing_starts_without_a_call(heard):
    before = threading.active_count()
    with heard.partials() as partials:
        assert threading.active_count() == before
        with partials.hearing("ask"):
            assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_full_disk_does_not_end_the_telling_with_a_stack_trace():
    tried = threading.Event()

    def full(_path, _note):
        tried.set()
        raise StorageError("the disk is full")

    with Partials(Redactor(), full, None, after_s=0.0, every_s=0.01) as partials, partials.hearing("ask"):
        assert tried.wait(10)
