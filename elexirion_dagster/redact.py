"""Key-shaped strings and the user's own patterns out of everything that is sent or kept."""

import functools
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json

_MARK = r"\[redacted:[a-z_]+\]"
_MIN_SECRET_CHARS = 4  # shorter values would blank ordinary words
_MIN_TOKEN_CHARS = 8
_MARK_CHARS = 40  # no mark is longer
_BORDER = r"(?:\b|\\+(?:[abfnrtv0]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})|%[0-9a-fA-F]{2}|\x1b\[[0-9;]*[A-Za-z])"
"""What stands before a key: the end of a word, or an escape of JSON, a URL or a terminal, which ends in a letter."""
_NUMBERS = frozenset(
    {"password", "api_key", "secret"}
)  # what YAML reads a secret of digits as; tokens are also counted
_SURROGATE = re.compile("[\ud800-\udfff]")
_IS_MARK = re.compile(_MARK)
_IS_PLACEHOLDER = re.compile(r"\$?\{.*\}|\$\(.*\)|\$[A-Z_]+|<[^<>]*>|\[[^\[\]]*\]|%s|%\(\w+\)s")
_SUFFIX = r"(?:_?[0-9]+|_?(?:key|value|prod|dev|test|default|base|string|str))*"
_VALUE = (
    r"""(?:"{3}([^"\n]+)"{3}|'{3}([^'\n]+)'{3}|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'"""
    r"""|`([^`\s,]*)`|\\"([^"\\\n]*)\\")"""
)


@dataclass(frozen=True)
class Kind:
    """One row of secret_kinds.toml: what is masked as `[redacted:<name>]`, and cases that a test runs.

    `masked` are texts with a secret: what stands before it, its parts, what stands after it. `kept` stay as they are.
    """

    name: str
    pattern: str
    hints: tuple[str, ...] = ()
    is_secret: Callable[[str], bool] = lambda _: True
    is_named: bool = False
    masked: tuple[tuple[str, ...], ...] = ()
    kept: tuple[str, ...] = ()


@functools.cache
def kinds() -> tuple[Kind, ...]:
    """Every kind of secret that is known by its shape or its name, in the order in which they are looked for."""
    text = files("elexirion_dagster").joinpath("secret_kinds.toml").read_text(encoding="utf-8")
    return tuple(_kind(row) for row in tomllib.loads(text)["secret"])


def _kind(row: Mapping[str, Any]) -> Kind:
    names = row.get("names")
    return Kind(
        name=row["kind"],
        pattern=_after_border(row["pattern"]) if names is None else _assigned_to(names),
        hints=tuple(row["hints"]),
        is_secret=_CHECKS[row.get("check", "any" if names is None else "literal")],
        is_named=names is not None,
        masked=tuple(tuple(parts) for parts in row["masked"]),
        kept=tuple(row["kept"]),
    )


def _after_border(pattern: str) -> str:
    """The pattern, with escapes counted as borders where it begins at one."""
    flags, border, rest = re.fullmatch(r"((?:\(\?i\))?)((?:\\b)?)(.*)", pattern, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{flags}{_BORDER if border else ''}{rest}"


def _assigned_to(names: str) -> str:
    """Match a quoted value that is assigned to, defaulted to or compared with such a name."""
    annotation = r"(?:[ \t]*:[ \t]*[A-Za-z_][A-Za-z0-9_.|\[\] ]*)?"
    sign = r"[ \t]*(?:={1,3}|!==?|:=|=>|:)[ \t]*"
    return rf"""(?i)(?:{names}){_SUFFIX}\\?["'\]]*{annotation}{sign}[rbuf]?{_VALUE}"""


def _has_digit(value: str) -> bool:
    return any(sign.isdigit() for sign in value)


def _is_literal(value: str) -> bool:
    return bool(value.strip()) and not _IS_PLACEHOLDER.fullmatch(value.strip())


def _is_token(value: str) -> bool:
    """Tell a key from the words and signs that parsers call tokens."""
    long_enough = len(value) >= _MIN_TOKEN_CHARS or (len(value) >= _MIN_SECRET_CHARS and _has_digit(value))
    return long_enough and _is_literal(value) and not re.search(r"\s", value)


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "any": lambda _: True,
    "digit": _has_digit,
    "literal": _is_literal,
    "token": _is_token,
}


class Redactor:
    """Replaces secrets by `[redacted:<kind>]`, keeping quotes and line structure; applying it twice changes nothing.

    `secrets` are exact values (keys from the environment), `patterns` RE2 expressions whose matches go.
    """

    def __init__(self, *, secrets: Sequence[str] = (), patterns: Sequence[str] = ()) -> None:
        given = [secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS]
        known = sorted({spelled for secret in given for spelled in _spellings(secret)}, key=len, reverse=True)
        self._secrets = tuple(known)
        own = [_own("secret", "|".join(map(re2.escape, known)))] if known else []
        self._own = (*own, *(_own("pattern", pattern) for pattern in patterns))

    def text(self, value: str) -> str:
        """Redact one text, in time linear in its length."""
        for _ in kinds():
            redacted = self._once(value)
            if redacted == value or not _has_glued_mark(redacted):
                return redacted
            value = redacted  # a key that stood right beside another one is seen once that is masked
        return value

    def _once(self, value: str) -> str:
        for kind, pattern in self._own:
            if kind.name != "secret" or any(secret in value for secret in self._secrets):
                value = _apply(kind, pattern, value)
        hints = _hints()
        for at in sorted({hints.kinds[found] for found in hints.set.Match(_matchable(value)) or ()}):
            kind, pattern = _compiled()[at]
            value = _apply(kind, pattern, value)
        return value

    def settled_lines(self, begun: str) -> list[str]:
        """Redact the lines of a text still under way that nothing to come can turn into parts of a secret."""
        end = begun.rfind("\n") + 1
        settled = begun.count("\n") - max((secret.count("\n") for secret in self._secrets), default=0)
        block = begun.rfind("-----BEGIN", 0, end)
        if block >= 0 and "-----END" not in begun[block:end]:
            settled = min(settled, begun.count("\n", 0, block))
        return self.text(begun[:end]).split("\n")[: max(settled, 0)]

    def tree(self, value: Json) -> Json:
        """Redact every string inside lists and maps, keys and values that stand under a secret's name included."""
        return self.masked(value)[0]

    def masked(self, value: Json, keep: Callable[[str], bool] = lambda _: False) -> tuple[Json, list[str]]:
        """The same tree redacted, and the places where something was: `keys[2].name`, each without its secret.

        Strings that `keep` says yes to stay as they are.
        """
        places: list[str] = []
        return self._masked(value, "", keep, places), places

    def _masked(self, value: Json, at: str, keep: Callable[[str], bool], places: list[str]) -> Json:
        if isinstance(value, str):
            text = self.text(value)
            if text == value or keep(value):
                return value
            places.append(at)
            return text
        if isinstance(value, list | tuple):
            return [self._masked(item, f"{at}[{index}]", keep, places) for index, item in enumerate(value)]
        if isinstance(value, Mapping):
            return self._map(value, at, keep, places)
        return value

    def _map(
        self, value: Mapping[str, Json], at: str, keep: Callable[[str], bool], places: list[str]
    ) -> dict[str, Json]:
        redacted: dict[str, Json] = {}
        for key, item in value.items():
            name = self.text(key) if isinstance(key, str) else key
            if name != key:
                places.append(f"the key {name}" if not at else f"a key of {at}")
            if name in redacted:
                name = f"{name} {len(redacted)}"
            inner = f"{at}.{name}" if at else str(name)
            kind = _kind_of_name(key) if isinstance(key, str) else None
            redacted[name] = (
                self._masked(item, inner, keep, places)
                if kind is None
                else self._named(item, kind, inner, keep, places)
            )
        return redacted

    def _named(self, value: Json, kind: Kind, at: str, keep: Callable[[str], bool], places: list[str]) -> Json:
        """What stands under a secret's name: a text, a number of some length, or a list of them."""
        if isinstance(value, list | tuple):
            return [self._named(item, kind, f"{at}[{index}]", keep, places) for index, item in enumerate(value)]
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and kind.name in _NUMBERS
        is_secret = isinstance(value, str) and kind.is_secret(value) and not keep(value)
        if is_secret or (is_number and len(str(value)) >= _MIN_SECRET_CHARS):
            places.append(at)
            return f"[redacted:{kind.name}]"
        return self._masked(value, at, keep, places)


def has_mask(value: Json) -> bool:
    """Whether a mask stands anywhere in a tree."""
    if isinstance(value, str):
        return _IS_MARK.search(value) is not None
    if isinstance(value, Mapping):
        return any(has_mask(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(has_mask, value))


def _spellings(secret: str) -> set[str]:
    """A secret as it is, inside a URL, and inside JSON."""
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}


def _own(name: str, pattern: str) -> tuple[Kind, Any]:
    """Compile a kind of the caller's; marks that stand already are passed over as a whole."""
    return Kind(name, pattern), _compile(f"(?:{_MARK})|({pattern})")


@functools.cache
def _compiled() -> tuple[tuple[Kind, Any], ...]:
    return tuple((kind, _compile(kind.pattern)) for kind in kinds())


@dataclass(frozen=True)
class _Hints:
    """All hints of all kinds as one automaton; `kinds` maps its entries to the kinds."""

    set: Any
    kinds: tuple[int, ...]


@functools.cache
def _hints() -> _Hints:
    hints = re2.Set.SearchSet(_options())
    found = []
    for at, kind in enumerate(kinds()):
        for hint in kind.hints:
            hints.Add(hint)
            found.append(at)
    hints.Compile()
    return _Hints(hints, tuple(found))


@functools.lru_cache(maxsize=1_000)
def _kind_of_name(name: str) -> Kind | None:
    """Find the kind that a field of this name falls under, if any."""
    line = f'{_matchable(name[:200])} = "x"'
    for kind, pattern in _compiled():
        if kind.is_named and pattern.search(line):
            return kind
    return None


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options


def _compile(pattern: str) -> Any:
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise InputError(f"the redaction pattern {pattern!r} is not RE2: {reason}") from error


def _apply(kind: Kind, pattern: Any, text: str) -> str:
    pieces: list[str] = []
    end = 0
    for match in pattern.finditer(_matchable(text)):
        spans = (match.span(group) for group in range(1, pattern.groups + 1))
        start, stop = next((span for span in spans if span[0] >= 0), (0, 0))
        value = text[start:stop]
        if value and kind.is_secret(value) and not _is_marked(text, match.start(), start, stop):
            pieces += [text[end:start], _mark(kind.name, value)]
            end = stop
    return "".join([*pieces, text[end:]]) if pieces else text


def _matchable(text: str) -> str:
    """Replace lone surrogates, which RE2 cannot read, sign by sign."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _is_marked(text: str, first: int, start: int, stop: int) -> bool:
    """Whether the value at `start` is a mark, or it or its match (from `first`) begins or ends inside one."""
    low = max(first - _MARK_CHARS, 0)
    window = text[low : stop + _MARK_CHARS]
    if "[redacted:" not in window:
        return False
    if _IS_MARK.fullmatch(text[start:stop].strip()):
        return True
    marks = [mark.span() for mark in _IS_MARK.finditer(window)]
    return any(begin < edge - low < end for begin, end in marks for edge in (first, start, stop))


def _has_glued_mark(text: str) -> bool:
    """Whether a letter, a digit or an underscore stands right beside a mark."""
    beside = (
        text[max(mark.start() - 1, 0) : mark.start()] + text[mark.end() : mark.end() + 1]
        for mark in _IS_MARK.finditer(text)
    )
    return any(sign.isalnum() or sign == "_" for signs in beside for sign in signs)


def _mark(kind: str, value: str) -> str:
    """Write the mark with the line ends of what it replaces."""
    lead = len(value) - len(value.lstrip())
    return value[:lead] + f"[redacted:{kind}]" + "\n" * value.count("\n", lead)
