"""What the environment says, read once and handed down."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from elexirion_dagster.errors import InputError
from elexirion_dagster.hosts import Host
from elexirion_dagster.sandbox.policy import Mode

_VARIABLES = {
    "home": "ELEXIRION_HOME",
    "pipelines": "ELEXIRION_PIPELINES",
    "model": "ELEXIRION_MODEL",
    "anthropic_api_key": "ANTHROPIC_API_KEY",
    "anthropic_base_url": "ANTHROPIC_BASE_URL",
    "anthropic_model": "ELEXIRION_ANTHROPIC_MODEL",
    "gemini_api_key": "GEMINI_API_KEY",
    "gemini_base_url": "ELEXIRION_GEMINI_BASE_URL",
    "gemini_model": "ELEXIRION_GEMINI_MODEL",
    "local_base_url": "ELEXIRION_LOCAL_URL",
    "local_api_key": "ELEXIRION_LOCAL_API_KEY",
    "local_model": "ELEXIRION_LOCAL_MODEL",
    "embedded_model": "ELEXIRION_EMBEDDED_MODEL",
    "max_threads": "ELEXIRION_MAX_THREADS",
    "budget_usd_per_day": "ELEXIRION_BUDGET_USD_PER_DAY",
    "budget_tokens_per_day": "ELEXIRION_BUDGET_TOKENS_PER_DAY",
    "rates": "ELEXIRION_RATES",
    "prices": "ELEXIRION_PRICES",
    "log_level": "ELEXIRION_LOG_LEVEL",
    "alert": "ELEXIRION_ALERT",
    "sandbox": "ELEXIRION_SANDBOX",
    "hosts": "ELEXIRION_HOSTS",
}
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(rps|rpm|tpm|slots)")


@dataclass(frozen=True, slots=True)
class Rate:
    """What a provider or model may be asked; None: no limit. `slots` are calls under way at the same time."""

    requests_per_s: float | None = None
    tokens_per_s: float | None = None
    slots: int | None = None


def _rates(given: Any) -> Any:
    """Read `anthropic=50slots; anthropic/claude-sonnet-5-5=1200rpm,400000tpm`; what is no text is passed on."""
    if not isinstance(given, str):
        return given
    rates: dict[str, Rate] = {}
    for part in filter(str.strip, given.split(";")):
        name, _, limits = (word.strip() for word in part.rpartition("="))
        if not name or name in rates:
            raise ValueError(f"expected each provider or provider/model once with its limits, came {part.strip()!r}")
        rates[name] = _rate(limits)
    return rates


def _rate(limits: str) -> Rate:
    rate = Rate()
    for word in limits.split(","):
        match = _RATE.fullmatch(word.strip())
        number = float(match[1]) if match else 0.0
        if match is None or number <= 0 or (match[2] == "slots" and not number.is_integer()):
            raise ValueError(f"expected limits such as 20rps, 1200rpm, 400000tpm or 50slots, came {word.strip()!r}")
        match match[2]:
            case "rps":
                rate = replace(rate, requests_per_s=number)
            case "rpm":
                rate = replace(rate, requests_per_s=number / 60)
            case "tpm":
                rate = replace(rate, tokens_per_s=number / 60)
            case _:
                rate = replace(rate, slots=int(number))
    return rate


def _alert(target: str) -> str:
    """A URL, or words that a command consists of. Raises ValueError."""
    if not shlex.split(target):
        raise ValueError("expected a URL or a command")
    return target


def _hosts(given: Any) -> Any:
    """Read `ai.example.com, 10.0.0.7:8080` as names without ports; a value that is not text is returned unchanged."""
    if not isinstance(given, str):
        return given
    names = []
    for part in filter(None, map(str.strip, given.split(","))):
        host = Host.parse(part)
        if host is None:
            raise ValueError(f"expected host names separated by commas, such as ai.example.com, got {part!r}")
        names.append(host.name)
    return tuple(names)


_SECRET_NAME = re.compile(
    "KEY|TOKEN|SECRET|PASSW|PASSPHRASE|PASS$|_PWD|CREDENTIAL|AUTH(?!OR(?!IZ))|COOKIE|WEBHOOK|DSN|SIG(?:NATURE)?$|_PAT$",
    re.IGNORECASE,
)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"[A-Za-z-]{0,11}")
"""What stands where a local server wants some key, such as ollama: no secret, and maybe a word of every text."""
_GIVEN = re.compile(r"([^=:]+)[=:]\s*(.+)")
_LEAST_PART_CHARS = 8


class Settings(BaseModel):
    """Everything that is set from outside; each field names the environment variable it is read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("elexirion")))
    """`ELEXIRION_HOME`: where journal, tables, prompts and the Dagster instance live."""
    pipelines: Path | None = None
    """`ELEXIRION_PIPELINES`: a further folder of pipelines; one in it replaces a shipped one of the same name."""
    model: str | None = None
    """`ELEXIRION_MODEL`: what `model: auto` means, instead of the first configured provider."""
    anthropic_api_key: SecretStr | None = None
    """`ANTHROPIC_API_KEY`."""
    anthropic_base_url: str | None = None
    """`ANTHROPIC_BASE_URL`: another server that speaks the Messages API."""
    anthropic_model: str = "claude-sonnet-5-5"
    """`ELEXIRION_ANTHROPIC_MODEL`: the model that `auto` takes at Anthropic."""
    gemini_api_key: SecretStr | None = None
    """`GOOGLE_API_KEY`, else `GEMINI_API_KEY`: the order of Google's own SDK."""
    gemini_base_url: str | None = None
    """`ELEXIRION_GEMINI_BASE_URL`: another server that speaks generateContent."""
    gemini_model: str = "gemini-2.5-flash"
    """`ELEXIRION_GEMINI_MODEL`: the model that `auto` takes at Google."""
    local_base_url: str | None = None
    """`ELEXIRION_LOCAL_URL`: an OpenAI-compatible base URL such as http://127.0.0.1:11434/v1."""
    local_api_key: SecretStr | None = None
    """`ELEXIRION_LOCAL_API_KEY`: only where the local server wants one."""
    local_model: str | None = None
    """`ELEXIRION_LOCAL_MODEL`: the model that `auto` and plain `local` take at the local server."""
    embedded_model: str = "smollm2-135m"
    """`ELEXIRION_EMBEDDED_MODEL`: what plain `embedded` takes: a pulled model's name or a GGUF's absolute path."""
    max_threads: int = Field(default=64, ge=1, le=1024)
    """`ELEXIRION_MAX_THREADS`: how many threads one run may use, nested fan-outs included."""
    budget_usd_per_day: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """`ELEXIRION_BUDGET_USD_PER_DAY`: ceiling over all runs of this home since midnight UTC, in dollars."""
    budget_tokens_per_day: int | None = Field(default=None, gt=0)
    """`ELEXIRION_BUDGET_TOKENS_PER_DAY`: the same in tokens."""
    rates: Annotated[dict[str, Rate], BeforeValidator(_rates)] = Field(default_factory=dict)
    """`ELEXIRION_RATES`: how fast models are asked, over all processes of this home, for instance
    `anthropic=50slots; anthropic/claude-sonnet-5-5=1200rpm,400000tpm; local=20rps`: requests a second or minute, tokens
    a minute, calls under way at once. What is set for a provider holds for all its models together."""
    prices: Path | None = None
    """`ELEXIRION_PRICES`: a JSON file like providers/prices.json, whose models go before the ones known here."""
    alert: Annotated[str, AfterValidator(_alert)] | None = Field(default=None, repr=False)
    """`ELEXIRION_ALERT`: a webhook URL, or a command (without a shell) that reads JSON: told when health changes."""
    sandbox: Mode = "auto"
    """`ELEXIRION_SANDBOX`: whether programs of pipelines are isolated: `auto` where this machine can, `required` (no
    step can weaken it), or `off`."""
    hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = ()
    """`ELEXIRION_HOSTS`: further names under which browsers reach `elexirion up`, separated by commas, for a proxy, a
    port forward or a container; a port is ignored. The loopback names always count."""
    environ: dict[str, str] = Field(default_factory=dict, repr=False)
    """The whole environment, for the names a pipeline lists under `env:`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "CRITICAL"
    """`ELEXIRION_LOG_LEVEL`: from which level a run's log also goes to the console; the Dagster UI has everything."""

    def secrets(self, *env: Iterable[str]) -> list[str]:
        """Whatever must never be kept or shown: every SecretStr field, what is secret in any URL of a field.

        Of the variables under these `env` names: the values of those whose name sounds like a secret's, and what is
        secret in the URLs of the others.
        """
        fields = [getattr(self, name) for name in type(self).model_fields]
        found = [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]
        found = [key for key in found if not _PLACEHOLDER.fullmatch(key)]
        found += [secret for field in fields if isinstance(field, str) for secret in _secrets_in(field)]
        found += _secrets_of_target(self.alert or "")
        for name in sorted({name for names in env for name in names}):
            value = self.environ.get(name, "")
            found += [value] if _SECRET_NAME.search(name) else _secrets_in(value)
        return list(dict.fromkeys(filter(None, found)))

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables named above; empty ones count as unset. Raises InputError naming the variable."""
        given: dict[str, object] = {
            name: environ[variable] for name, variable in _VARIABLES.items() if environ.get(variable)
        }
        if environ.get("GOOGLE_API_KEY"):
            given["gemini_api_key"] = environ["GOOGLE_API_KEY"]
        try:
            settings = cls.model_validate({**given, "environ": dict(environ)})
        except ValidationError as error:
            wrong = {str(one["loc"][0]): one for one in error.errors()}
            hidden = {name for name in wrong if name in cls.secret_fields() or not cls.model_fields[name].repr}
            shown = {name: "" if name in hidden else f"={one['input']!r}" for name, one in wrong.items()}
            lines = [f"{_VARIABLES[name]}{shown[name]} cannot be used: {one['msg']}" for name, one in wrong.items()]
            names = " and ".join(_VARIABLES[name] for name in wrong)
            raise InputError("\n".join(lines), mend=f"Set {names} to another value, or unset it.") from error
        if settings.pipelines is not None and not settings.pipelines.is_dir():
            message = f"ELEXIRION_PIPELINES={str(settings.pipelines)!r} is no folder"
            raise InputError(message, mend="Set ELEXIRION_PIPELINES to a folder of pipelines, or unset it.")
        return settings.model_copy(update={"home": settings.home.expanduser().absolute()})

    @classmethod
    def secret_fields(cls) -> list[str]:
        """The fields that hold a key: those of type SecretStr."""
        return [name for name, field in cls.model_fields.items() if "SecretStr" in str(field.annotation)]


def _secrets_in(text: str) -> list[str]:
    """User names and passwords of the URLs in a text, and the values of parameters that are named like secrets."""
    return [secret for url in _URL.findall(text) for secret in _secrets_of_url(url)]


def _secrets_of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no address
        return
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    for secret in [password] if password else [user] if len(user) >= _LEAST_PART_CHARS else []:
        yield from {secret, unquote(secret)}
    yield from (value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name))


def _secrets_of_target(target: str) -> Iterator[str]:
    """What is secret of an alert's target: the path of a webhook, whoever knows it may post; what a command is given.

    A command's words are secrets where they follow what is named like one: `--token x`, `--token=x`, `X-Token: x`.
    """
    if _URL.match(target):
        parts = urlsplit(target)
        if parts.path.strip("/") or parts.query:
            yield target
        yield from (part for part in parts.path.split("/") if len(part) >= 2 * _LEAST_PART_CHARS)
        return
    before = ""
    for word in shlex.split(target):
        given = _GIVEN.fullmatch(word)
        if given and _SECRET_NAME.search(given[1]):
            yield given[2]
        elif before.startswith("-") and not word.startswith("-") and _SECRET_NAME.search(before):
            yield word
        before = "" if given else word
