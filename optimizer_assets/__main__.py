"""`python -m optimizer_assets optimize PIPELINE/STEP`: one optimisation, told line by line as JSON."""

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Json
from elexirion_dagster.settings import Settings
from optimizer_assets.optimise import learn
from optimizer_assets.told import as_json

MISSING = (
    "dspy is not installed, so prompts cannot be optimised here",
    "pip install 'elexirion[optimizer]'",
)


def main(words: Sequence[str]) -> int:
    """Run it; the exit code is 1 where the last line is an `error`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.umask(0o077)
    try:
        _run(words)
    except KeyboardInterrupt:
        return _fail("the optimisation was cancelled; what it has paid for is not paid again", "cancelled", None)
    except ElexirionError as error:
        return _fail(error.message, error.cause, error.mend)
    return 0


def _run(words: Sequence[str]) -> None:
    match words:
        case ["optimize", address]:
            if importlib.util.find_spec("dspy") is None:
                raise InputError(MISSING[0], mend=MISSING[1])
            learn(address, Settings.from_env(os.environ), lambda event: _say(as_json(event)))
        case _:
            mend = "python -m optimizer_assets optimize PIPELINE/STEP"
            raise InputError(f"expected `optimize PIPELINE/STEP`, came {' '.join(words) or 'nothing'}", mend=mend)


def _say(line: Mapping[str, Json]) -> None:
    print(json.dumps(line, ensure_ascii=False, default=str), flush=True)  # noqa: T201 - this is its output


def _fail(message: str, cause: str, mend: str | None) -> int:
    _say({"event": "error", "error": message, "cause": cause, "mend": mend})
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
