"""What the environment says, read once and handed down."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from elexirion_dagster.errors import InputError

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


_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class Settings(BaseModel):
    """Everything that is set from outside; each field names the environment variable it is read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("elexirion")))
    """`ELEXIRION_HOME`: where journal, tables, prompts and the Dagster instance live."""
    pipelines: Path | None = None
    """`ELEXIRION_PIPELINES`: a further folder of pipelines, looked up after ./pipelines_yaml."""
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
    environ: dict[str, str] = Field(default_factory=dict, repr=False)
    """The whole environment, for the names a pipeline lists under `env:`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "CRITICAL"
    """`ELEXIRION_LOG_LEVEL`: from which level a run's log also goes to the console; the Dagster UI has everything."""

    def secrets(self, *env: Iterable[str]) -> list[str]:
        """Our own keys, and what the environment has under those of these names that sound like a secret's."""
        keys = (self.anthropic_api_key, self.gemini_api_key, self.local_api_key)
        named = sorted({name for names in env for name in names if _SECRET_NAME.search(name)})
        return [key.get_secret_value() for key in keys if key is not None] + [
            self.environ.get(name, "") for name in named
        ]

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
            wrong = {_VARIABLES[str(one["loc"][0])]: one for one in error.errors()}
            hidden = {"ELEXIRION_ALERT"}  # an address may hold a token
            shown = {name: "" if name in hidden else f"={one['input']!r}" for name, one in wrong.items()}
            message = "\n".join(f"{name}{shown[name]} cannot be used: {one['msg']}" for name, one in wrong.items())
            names = " and ".join(wrong)
            raise InputError(message, mend=f"Set {names} to another value, or unset it.") from error
        if settings.pipelines is not None and not settings.pipelines.is_dir():
            message = f"ELEXIRION_PIPELINES={str(settings.pipelines)!r} is no folder"
            raise InputError(message, mend="Set ELEXIRION_PIPELINES to a folder of pipelines, or unset it.")
        return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
