"""`python -m optimizer_assets optimize PIPELINE/STEP`: one optimisation, told line by line as JSON."""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Json
from elexirion_dagster.settings import Settings
from optimizer_assets.optimise import learn
from optimizer_assets.told import as_json


def main(words: Sequence[str]) -> int:
    """Run it; the exit code is 1 where the last line is an `error`."""
    cancelled = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        cancelled.set()  # calls under way end at once
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    os.umask(0o077)
    try:
        _run(words, cancelled)
    except KeyboardInterrupt:
        return _fail("the optimisation was cancelled; what it has paid for is not paid again", "cancelled", None)
    except ElexirionError as error:
        return _fail(error.message, error.cause, error.mend)
    return 0


def _run(words: Sequence[str], cancelled: threading.Event) -> None:
    match words:
        case ["optimize", address]:
            learn(address, Settings.from_env(os.environ), lambda event: _say(as_json(event)), cancelled)
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
