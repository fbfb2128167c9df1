"""Which providers there are, which are configured, and what a model's name in a pipeline means."""

import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from types import MappingProxyType

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.base import Provider
from elexirion_dagster.providers.fake import FakeProvider
from elexirion_dagster.settings import Settings

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model of a provider; `str()` gives the form that pipelines use."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """How a provider is opened, whether it is configured, which model it takes when only it is named."""

    open: Callable[[Settings], Provider]
    configured: Callable[[Settings], bool]
    default_model: Callable[[Settings], str]
    mend: str


def parse_model(name: str) -> ModelRef:
    """Read `provider/model`; the model may hold further slashes. Raises InputError naming the nearest provider."""
    provider, slash, model = name.strip().partition("/")
    if not slash or not model:
        raise InputError(
            f"expected a model such as anthropic/claude-sonnet-5-5, came {name!r}", mend=_nearest(provider)
        )
    _entry(provider)
    return ModelRef(provider, model)


def resolve(model: str | Sequence[str], settings: Settings) -> tuple[ModelRef, ...]:
    """Turn a pipeline's `model` into models in failover order; `auto` gives none when nothing is configured.

    Raises InputError for an unknown or unconfigured provider, ProviderError when a local server must be asked for its
    first model and does not answer.
    """
    names = [model] if isinstance(model, str) else model
    return tuple(dict.fromkeys(ref for name in names for ref in _refs(name, settings)))


def check_provider(name: str) -> None:
    """Raise InputError, naming the nearest, when there is no provider of this name."""
    _entry(name)


def check_model(name: str, settings: Settings) -> None:
    """Raise InputError when a model's name is none, or its provider unknown or not configured. Asks no server."""
    if name != AUTO:
        _configured_entry(name if name in _ENTRIES else parse_model(name).provider, settings)


def preferred(settings: Settings) -> ModelRef | None:
    """The model that `auto` takes, where that can be said without asking a server. Raises nothing."""
    name = settings.model or AUTO
    if name == AUTO:
        name = next((each for each in _AUTO_ORDER if _ENTRIES[each].configured(settings)), "")
    provider, _, model = name.partition("/")
    if model or provider not in ("anthropic", "gemini", "gemini-legacy"):
        return ModelRef(provider, model) if model and provider in _ENTRIES else None
    return ModelRef(provider, _ENTRIES[provider].default_model(settings))


def configured(settings: Settings) -> list[tuple[str, bool, str]]:
    """List every provider: its name, whether it is configured, and what to set if not."""
    return [(name, entry.configured(settings), entry.mend) for name, entry in _ENTRIES.items()]


class Providers:
    """The providers of one process, each opened once on first use. Thread-safe.

    `opened` are providers that are ready already (a scripted fake, a wrapper); they go before the catalogue.
    Raises InputError when ELEXIRION_RATES limits a provider that does not exist.
    """

    def __init__(self, settings: Settings, opened: Mapping[str, Provider] = MappingProxyType({})) -> None:
        for limited in settings.rates:
            _entry(limited.partition("/")[0])
        self._settings = settings
        self._open = dict(opened)
        self._lock = threading.Lock()

    def open(self, name: str) -> Provider:
        """Return the provider of this name. Raises InputError when it is unknown or not configured."""
        with self._lock:
            if name not in self._open:
                self._open[name] = _configured_entry(name, self._settings).open(self._settings)
            return self._open[name]

    def close(self) -> None:
        """Close every provider that was opened."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def _refs(name: str, settings: Settings) -> tuple[ModelRef, ...]:
    if name == AUTO:
        return _auto(settings)
    if name in _ENTRIES:
        return (ModelRef(name, _configured_entry(name, settings).default_model(settings)),)
    ref = parse_model(name)
    _configured_entry(ref.provider, settings)
    return (ref,)


def _auto(settings: Settings) -> tuple[ModelRef, ...]:
    if settings.model and settings.model != AUTO:
        return resolve(settings.model, settings)
    for name in _AUTO_ORDER:
        if _ENTRIES[name].configured(settings):
            return (ModelRef(name, _ENTRIES[name].default_model(settings)),)
    return ()


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        known = ", ".join(_ENTRIES)
        raise InputError(f"expected a model of one of {known}, came the provider {name!r}", mend=_nearest(name))
    return _ENTRIES[name]


def _configured_entry(name: str, settings: Settings) -> _Entry:
    entry = _entry(name)
    if not entry.configured(settings):
        ready = ", ".join(other for other, ok, _ in configured(settings) if ok)
        raise InputError(f"the provider {name!r} is not configured (configured: {ready})", mend=entry.mend)
    return entry


def _nearest(word: str) -> str:
    close = get_close_matches(word.lower(), _ENTRIES, n=1)
    return (
        f"Did you mean {close[0]!r}?" if close else f"Write provider/model with one of {', '.join(_ENTRIES)}, or auto."
    )


def _open_anthropic(settings: Settings) -> Provider:
    # The SDK takes 1.2 s to import (measured); runs on another model need not wait for it.
    from elexirion_dagster.providers.anthropic import AnthropicProvider  # noqa: PLC0415

    return AnthropicProvider.from_settings(settings)


def _open_gemini(settings: Settings) -> Provider:
    # The SDK takes 0.6 s to import (measured); runs on another model need not wait for it.
    from elexirion_dagster.providers.gemini import GeminiProvider  # noqa: PLC0415

    return GeminiProvider.from_settings(settings)


def _open_gemini_legacy(settings: Settings) -> Provider:
    # The SDK takes 1.2 s to import (measured) and may be absent; runs on another model need neither.
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider  # noqa: PLC0415

    return GeminiLegacyProvider.from_settings(settings)


def _open_local(settings: Settings) -> Provider:
    # httpx takes 120 ms to import (measured); runs on another model need not wait for it.
    from elexirion_dagster.providers.local import LocalProvider  # noqa: PLC0415

    return LocalProvider.from_settings(settings)


def _has_gemini_legacy() -> bool:
    return find_spec("google.generativeai") is not None


def _open_embedded(settings: Settings) -> Provider:
    # An extra that need not be installed; it takes 45 ms to import (measured).
    from elexirion_dagster.providers.embedded import EmbeddedProvider  # noqa: PLC0415

    return EmbeddedProvider.from_settings(settings)


def _local_model(settings: Settings) -> str:
    if settings.local_model:
        return settings.local_model
    # httpx takes 120 ms to import (measured); a named model needs no question to the server.
    from elexirion_dagster.providers.local import LocalProvider  # noqa: PLC0415

    provider = LocalProvider.from_settings(settings)
    try:
        return provider.first_model()
    finally:
        provider.close()


_ENTRIES: Mapping[str, _Entry] = MappingProxyType(
    {
        "anthropic": _Entry(
            open=_open_anthropic,
            configured=lambda settings: settings.anthropic_api_key is not None,
            default_model=lambda settings: settings.anthropic_model,
            mend="Set ANTHROPIC_API_KEY.",
        ),
        "gemini": _Entry(
            open=_open_gemini,
            configured=lambda settings: settings.gemini_api_key is not None,
            default_model=lambda settings: settings.gemini_model,
            mend="Set GEMINI_API_KEY.",
        ),
        "gemini-legacy": _Entry(
            open=_open_gemini_legacy,
            configured=lambda settings: settings.gemini_api_key is not None and _has_gemini_legacy(),
            default_model=lambda settings: settings.gemini_model,
            mend="Set GEMINI_API_KEY and run: pip install 'elexirion[gemini-legacy]'",
        ),
        "local": _Entry(
            open=_open_local,
            configured=lambda settings: settings.local_base_url is not None,
            default_model=_local_model,
            mend="Set ELEXIRION_LOCAL_URL to an OpenAI-compatible base URL such as http://127.0.0.1:11434/v1.",
        ),
        "embedded": _Entry(
            open=_open_embedded,
            configured=lambda _settings: importlib.util.find_spec("xllamacpp") is not None,
            default_model=lambda settings: settings.embedded_model,
            mend="pip install 'elexirion[embedded]', then `elexirion models pull smollm2-135m`.",
        ),
        "fake": _Entry(
            open=lambda _settings: FakeProvider(),
            configured=lambda _settings: True,
            default_model=lambda _settings: "fake",
            mend="Nothing to set: the fake model is always there.",
        ),
    }
)
_AUTO_ORDER = ("anthropic", "gemini", "local")
