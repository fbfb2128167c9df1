"""What the environment says, read once and handed down."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

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
    "log_level": "ELEXIRION_LOG_LEVEL",
}


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
    budget_usd_per_day: float | None = Field(default=None, gt=0)
    """`ELEXIRION_BUDGET_USD_PER_DAY`: ceiling over all runs of this home since midnight UTC, in dollars."""
    environ: dict[str, str] = Field(default_factory=dict, repr=False)
    """The whole environment, for the names a pipeline lists under `env:`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "CRITICAL"
    """`ELEXIRION_LOG_LEVEL`: from which level a run's log also goes to the console; the Dagster UI has everything."""

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
            first = error.errors()[0]
            variable = _VARIABLES[str(first["loc"][0])]
            message = f"{variable}={first['input']!r} cannot be used: {first['msg']}"
            raise InputError(message, mend=f"Set {variable} to another value, or unset it.") from error
        if settings.pipelines is not None and not settings.pipelines.is_dir():
            message = f"ELEXIRION_PIPELINES={str(settings.pipelines)!r} is no folder"
            raise InputError(message, mend="Set ELEXIRION_PIPELINES to a folder of pipelines, or unset it.")
        return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
