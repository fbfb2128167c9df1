"""Key-shaped strings and the user's own patterns out of everything that is sent or kept."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json

_MARK = r"\[redacted:[a-z_]+\]"
_MIN_SECRET_CHARS = 4  # shorter values would blank ordinary words
_MIN_TOKEN_CHARS = 8
_MARK_CHARS = 40  # no mark is longer
_SURROGATE = re.compile("[\ud800-\udfff]")
_IS_MARK = re.compile(_MARK)
_IS_PLACEHOLDER = re.compile(r"\$?\{.*\}|\$\(.*\)|\$[A-Z_]+|<[^<>]*>|\[[^\[\]]*\]|%s|%\(\w+\)s")
_SUFFIX = r"(?:_?[0-9]+|_?(?:key|value|prod|dev|test|default|base|string|str))*"
_VALUE = (
    r"""(?:"{3}([^"\n]+)"{3}|'{3}([^'\n]+)'{3}|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'"""
    r"""|`([^`\s,]*)`|\\"([^"\\\n]*)\\")"""
)


@dataclass(frozen=True)
class _Rule:
    """One kind of secret: `words`, one of which must occur before the pattern is tried; its only filled group goes."""

    kind: str
    words: tuple[str, ...]
    pattern: str
    is_secret: Callable[[str], bool] = lambda _: True
    named: bool = False


def _has_digit(value: str) -> bool:
    return any(sign.isdigit() for sign in value)


def _is_literal(value: str) -> bool:
    return bool(value.strip()) and not _IS_PLACEHOLDER.fullmatch(value.strip())


def _is_token(value: str) -> bool:
    """Tell a key from the words and signs that parsers call tokens."""
    long_enough = len(value) >= _MIN_TOKEN_CHARS or (len(value) >= _MIN_SECRET_CHARS and _has_digit(value))
    return long_enough and _is_literal(value) and not re.search(r"\s", value)


def _named(kind: str, names: str, words: tuple[str, ...], is_secret: Callable[[str], bool] = _is_literal) -> _Rule:
    """Match a quoted value that is assigned to, defaulted to or compared with such a name."""
    annotation = r"(?:[ \t]*:[ \t]*[A-Za-z_][A-Za-z0-9_.|\[\] ]*)?"
    sign = r"[ \t]*(?:={1,3}|!==?|:=|=>|:)[ \t]*"
    return _Rule(
        kind,
        words,
        rf"""(?i)(?:{names}){_SUFFIX}\\?["'\]]*{annotation}{sign}[rbuf]?{_VALUE}""",
        is_secret,
        named=True,
    )


_RULES: tuple[_Rule, ...] = (
    _Rule(
        "private_key",
        ("private key",),
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----((?:[^-]|-[^-])*)-----END [A-Z0-9 ]*PRIVATE KEY",
    ),
    _Rule(
        "private_key",
        ("private key",),
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----((?:(?:\s|\\n)*[A-Za-z0-9+/=]{16,})+)",
    ),
    _Rule("url_credentials", ("://",), r"""://[^\s:/@"'<>]*:([^\s/@"'<>]+)@""", _is_literal),
    _Rule("url_credentials", ("://",), r"://([A-Za-z0-9_-]{20,})@"),
    _Rule("anthropic_key", ("sk-ant-",), r"\b(sk-ant-[A-Za-z0-9_-]{10,})"),
    _Rule("openai_key", ("sk-",), r"\b(sk-(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20,}))"),
    _Rule("google_key", ("aiza",), r"\b(AIza[A-Za-z0-9_-]{30,})"),
    _Rule("aws_access_key", ("akia", "asia"), r"\b((?:AKIA|ASIA)[A-Z0-9]{16})\b"),
    _Rule(
        "aws_secret_key",
        ("secret",),
        r"""(?i)aws_?secret_?(?:access_?)?(?:key)?["'\]]*\s*(?:=|:)\s*["']?([A-Za-z0-9/+]{40})""",
    ),
    _Rule(
        "github_token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
    ),
    _Rule(
        "gitlab_token",
        ("glpat-", "glptt-", "gldt-", "glrt-", "glcbt-", "glft-", "glsoat-", "gloas-", "glimt-", "glagent-"),
        r"\b(gl(?:pat|ptt|dt|rt|cbt|ft|soat|oas|imt|agent)-[A-Za-z0-9_.-]{20,})",
    ),
    _Rule("slack_token", ("xox", "xapp-"), r"\b((?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,})"),
    _Rule("slack_webhook", ("hooks.slack.com",), r"hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"),
    _Rule(
        "stripe_key",
        ("_live_", "_test_", "whsec_"),
        r"\b((?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,})",
    ),
    _Rule("npm_token", ("npm_",), r"\b(npm_[A-Za-z0-9]{30,})"),
    _Rule("pypi_token", ("pypi-",), r"\b(pypi-AgE[A-Za-z0-9_-]{20,})"),
    _Rule("jwt", ("eyj",), r"\b(eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)"),
    _Rule("bearer_token", ("bearer",), r"(?i)\bbearer\s+([A-Za-z0-9._~+/-]{16,}=*)", _has_digit),
    _Rule(
        "authorization",
        ("authorization",),
        r"""(?i)\bauthorization["']?\s*[:=]\s*["']?(?:basic|token)\s+([A-Za-z0-9+/=_.-]{8,})""",
    ),
    _named("password", "password|passwd|passphrase|pwd", ("passw", "passphrase", "pwd")),
    _named("token", "token", ("token",), _is_token),
    _named("api_key", "(?:api|access|auth|private|encryption|signing)[_-]?key", ("key",)),
    _named("secret", "secret|credential", ("secret", "credential")),
    _Rule(
        "secret",
        ("passw", "secret", "token", "key"),
        r"(?m)^(?:export[ \t]+)?[A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)[A-Z0-9_]*"
        r"=([^\s\"'`$%{}()\[\]<>;,]{4,})[ \t\r]*$",
    ),
)


class Redactor:
    """Replaces secrets by `[redacted:<kind>]`, keeping quotes and line structure; applying it twice changes nothing.

    `secrets` are exact values (keys from the environment), `patterns` RE2 expressions whose matches go.
    """

    def __init__(self, *, secrets: Sequence[str] = (), patterns: Sequence[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS}, key=len, reverse=True)
        self._secrets = tuple(known)
        own = [_own("secret", "|".join(map(re2.escape, known)))] if known else []
        self._own = (*own, *(_own("pattern", pattern) for pattern in patterns))

    def text(self, value: str) -> str:
        """Redact one text, in time linear in its length."""
        for rule, pattern in self._own:
            if rule.kind != "secret" or any(secret in value for secret in self._secrets):
                value = _apply(rule, pattern, value)
        words = _words()
        for at in sorted({words.rules[found] for found in words.set.Match(_matchable(value)) or ()}):
            rule, pattern = _compiled_rules()[at]
            value = _apply(rule, pattern, value)
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
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        if isinstance(value, Mapping):
            return self._map(value)
        return value

    def _map(self, value: Mapping[str, Json]) -> dict[str, Json]:
        redacted: dict[str, Json] = {}
        for key, item in value.items():
            name = self.text(key)
            if name in redacted:
                name = f"{name} {len(redacted)}"
            rule = _rule_of_name(key) if isinstance(item, str) else None
            hidden = rule is not None and rule.is_secret(item)
            redacted[name] = f"[redacted:{rule.kind}]" if rule and hidden else self.tree(item)
        return redacted


def _own(kind: str, pattern: str) -> tuple[_Rule, Any]:
    """Compile a rule of the caller's; marks that stand already are passed over as a whole."""
    return _Rule(kind, (), pattern), _compile(f"(?:{_MARK})|({pattern})")


@functools.cache
def _compiled_rules() -> tuple[tuple[_Rule, Any], ...]:
    return tuple((rule, _compile(rule.pattern)) for rule in _RULES)


@dataclass(frozen=True)
class _Words:
    """All words of all rules as one automaton; `rules` maps its entries to the rules."""

    set: Any
    rules: tuple[int, ...]


@functools.cache
def _words() -> _Words:
    words = re2.Set.SearchSet(_options())
    rules = []
    for at, rule in enumerate(_RULES):
        for word in rule.words:
            words.Add("(?i)" + re2.escape(word))
            rules.append(at)
    words.Compile()
    return _Words(words, tuple(rules))


@functools.lru_cache(maxsize=1_000)
def _rule_of_name(name: str) -> _Rule | None:
    """Find the rule that a field of this name falls under, if any."""
    line = f'{name[:200]} = "x"'
    for rule, pattern in _compiled_rules():
        if rule.named and pattern.search(line):
            return rule
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


def _apply(rule: _Rule, pattern: Any, text: str) -> str:
    pieces: list[str] = []
    end = 0
    for match in pattern.finditer(_matchable(text)):
        spans = (match.span(group) for group in range(1, pattern.groups + 1))
        start, stop = next((span for span in spans if span[0] >= 0), (0, 0))
        value = text[start:stop]
        if value and rule.is_secret(value) and not _is_marked(text, match.start(), start, stop):
            pieces += [text[end:start], _mark(rule.kind, value)]
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


def _mark(kind: str, value: str) -> str:
    """Write the mark with the line ends of what it replaces."""
    lead = len(value) - len(value.lstrip())
    return value[:lead] + f"[redacted:{kind}]" + "\n" * value.count("\n", lead)
