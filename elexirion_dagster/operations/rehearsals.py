"""A pipeline's real run whose models are a script: no key, no cost, nothing of it leaves the machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.operations.launch import Finished, execute
from elexirion_dagster.operations.pipelines import Chosen
from elexirion_dagster.operations.rehearsal_server import rehearsed
from elexirion_dagster.providers.catalog import AUTO, resolve
from elexirion_dagster.providers.pricing import cost_usd, own_prices
from elexirion_dagster.records import Usage
from elexirion_dagster.rehearsal.script import load_script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import Pipelines, asked
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.first_use import first_use
from elexirion_dagster.store.home import Home, open_home, storage_error
from elexirion_dagster.tags import MODEL_TAG, REHEARSAL_TAG

Say = Callable[[str], None]

STAND_IN = "anthropic/claude-sonnet-5-5"
"""Takes the place of models that cannot be rehearsed under their own name; its price is known."""
_SERVED = frozenset({AUTO, "anthropic", "gemini", "local"})
"""Words that lead to a provider whose wire format the server speaks."""
_MOST_ROWS = 50
_CALLS = """
select path, provider || '/' || model as model, attempt, status, coalesce(cause, '') as cause
from calls where run = ? order by asked_at
"""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How a rehearsal ended, what the server saw of it (model calls, faults played by kind), where it is recorded."""

    finished: Finished
    calls: int
    faults: Mapping[str, int]
    home: Path


def rehearse(chosen: Chosen, script: Path, settings: Settings, *, run_id: str, say: Say) -> Rehearsed:
    """Run a pipeline with every provider at the rehearsal server; what it does besides asking models is real.

    It is recorded in a home of its own, so that nobody learns from a script's answers and no budget counts them.
    """
    with RehearsalServer(load_script(script)) as server:
        say(f"{chosen.pipeline.name} runs against {server.base_url}, which plays {script}")
        say("only its models are played: its commands and files are real")
        home = rehearsal_home(settings.home)
        played = rehearsed(settings.model_copy(update={"home": home.path}), server.base_url)
        tags = {REHEARSAL_TAG: "script"}
        if why := _unplayable(chosen.pipeline, chosen.pipelines, played):
            say(f"{STAND_IN} stands in for its models: {why}")
            tags[MODEL_TAG] = STAND_IN
        finished = execute(chosen.file, chosen.inputs, run_id=run_id, tags=tags, settings=played)
        rows(home, run_id, say)
        return Rehearsed(finished, server.count, dict(server.faults), home.path)


def rows(home: Home, run: str, say: Say) -> None:
    """The run's rows of the table `calls`, in the order in which they were sent."""
    ingest(home)
    found = query(home, _CALLS, (run,))
    say("rows of the table `calls` in DuckDB:")
    table = [found.columns, *found.rows[:_MOST_ROWS]]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        say("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(found.rows) > _MOST_ROWS:
        say(f"  and {len(found.rows) - _MOST_ROWS} more")


def rehearsal_home(path: Path) -> Home:
    """The home of rehearsals, inside the user's; it has the user's prompts and nothing else of theirs."""
    prompts = open_home(path).prompts
    place = path / "rehearsal"
    try:
        with first_use(path):
            place.mkdir(mode=0o700, exist_ok=True)
            if not (place / "prompts").is_symlink():
                (place / "prompts").symlink_to(prompts)
    except OSError as error:
        raise storage_error(error, place) from error
    return open_home(place)


def _unplayable(pipeline: Pipeline, pipelines: Pipelines, settings: Settings) -> str | None:
    """Why the pipeline's models cannot keep their names: no wire to play them on, or a budget without a price."""
    for asking in asked(pipeline, pipelines, in_dollars=settings.budget_usd_per_day is not None):
        word = asking.model or pipeline.model
        for name in (word,) if isinstance(word, str) else word:
            if name.partition("/")[0] not in _SERVED:
                return f"{name} has no server that could be played"
            for model in resolve(name, settings) if asking.in_dollars else ():
                if cost_usd(model.provider, model.model, Usage(), own_prices(settings.prices)) is None:
                    return f"the price of {model} is not known, which a budget in dollars needs"
    return None
