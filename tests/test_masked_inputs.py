import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.inputs import is_place, masks_note, without_secrets
from elexirion_dagster.redact import Redactor, kinds

TOKEN = "hf_" + "aB3d" * 9
MASK = "[redacted:huggingface_token]"


def masked(inputs, **known):
    return without_secrets(inputs, Redactor(**known))


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"a": f"use {TOKEN} here"}, {"a": f"use {MASK} here"}),
        ({"a": ["x", [TOKEN]]}, {"a": ["x", [MASK]]}),
        ({"a": {"b": {"c": TOKEN}}}, {"a": {"b": {"c": MASK}}}),
        ({"a": {TOKEN: 1}}, {"a": {MASK: 1}}),
        ({"api_key": "x1"}, {"api_key": "[redacted:api_key]"}),
        ({"a": {"password": "hunter2"}}, {"a": {"password": "[redacted:password]"}}),
        ({"a": "hunter2 is it"}, {"a": "[redacted:secret] is it"}),
        ({"a": 1, "b": None, "c": True, "d": 1.5, "e": ""}, {"a": 1, "b": None, "c": True, "d": 1.5, "e": ""}),
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(given, seen):
    assert masked(given, secrets=["hunter2"]) == seen
    assert masked(seen, secrets=["hunter2"]) == seen
    assert bool(masks_note(seen)) == (given != seen)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_masking_twice_changes_nothing_for_any_kind(kind):
    for before, *secret, after in kind.masked:
        once = masked({"text": f"{before}{''.join(secret)}{after}", "password": "".join(secret)})
        assert masked(once) == once
        assert "".join(secret) not in once["text"]
        assert once["password"] == "[redacted:password]"


def test_a_long_input_is_masked_whole():
    text = f"{'word ' * 200_000}{TOKEN}{' word' * 200_000}"
    assert masked({"a": text}) == {"a": text.replace(TOKEN, MASK)}


def test_inputs_that_are_nested_too_deeply_are_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deeply"):
        masked({"a": deep})


def test_the_note_names_the_inputs_and_the_way_to_give_a_secret():
    note = masks_note({"a": "x", "b": [MASK], "c": {"[redacted:secret]": 1}})
    assert "its inputs: b, c." in note
    assert "`env:`" in note
    assert masks_note({"a": "x"}) is None


@pytest.mark.parametrize(
    "text", ["", "x", "a/b\0c", "/" * 5000, "~nobody-of-that-name/x", "/no/such/place", "https://h/p"]
)
def test_what_names_nothing_is_no_place(text):
    assert not is_place(text)


def test_what_exists_is_a_place(tmp_path):
    assert is_place(str(tmp_path))
    assert is_place("~")
