"""The assets of a slot: `prompts/<pipeline>/<step>/candidate` with the gate as checks, `prompts/<pipeline>/<step>`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.slots import SlotSpec
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.hub import check_instance
from optimizer_assets.shown import candidate_metadata, check_metadata, iteration_metadata, prompt_metadata

if TYPE_CHECKING:
    from optimizer_assets.told import Event

GATE = {
    "renders": "Every variable of the template has a value in every row.",
    "parses": "No more answers are unusable than before.",
    "lengths": "The text is no longer than a prompt should be.",
    "must_pass": "No row that must pass is lost.",
    "quality": "Better on rows that no search saw, or as good and cheaper; the error level counts every try.",
    "cost": "The dollars of a call stay within the limit.",
    "latency": "The seconds of a call stay within the limit.",
    "leaks": "The text copies no row, and no example is a held out one.",
    "secrets": "Nothing looks like a key.",
    "reloaded": "The saved version gives the same answers.",
}
"""The checks of the gate, by name."""
VERSION = "version"
"""The metadata of a candidate that names its version, by which the next asset finds it."""
_Yielded = dg.MaterializeResult[None] | dg.AssetObservation | dg.AssetCheckResult


def slot_key(slot: SlotSpec) -> list[str]:
    """`prompts/<pipeline>/<step>`, one part for each name."""
    return ["prompts", slot.pipeline, *slot.step.split(".")]


def slot_assets(slot: SlotSpec) -> tuple[dg.AssetsDefinition, dg.AssetsDefinition]:
    """The candidate with its checks, and the prompt in use."""
    return _candidate(slot), _prompt(slot)


def _candidate(slot: SlotSpec) -> dg.AssetsDefinition:
    key, address = [*slot_key(slot), "candidate"], f"{slot.pipeline}/{slot.step}"
    spec = dg.AssetSpec(
        key,
        deps=[["outcomes", slot.pipeline]],
        skippable=True,  # where nothing better is found, there is no candidate
        kinds={"dspy"},
        group_name="prompts",
        description=f"A better prompt for {address}, found on the rows to learn from and tried on the held out ones.",
    )

    @dg.multi_asset(
        name="__".join(key),
        specs=[spec],
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=text, blocking=True) for name, text in GATE.items()
        ],
        can_subset=True,  # without a candidate there is nothing to check either
    )
    def candidate(context: dg.AssetExecutionContext) -> Iterator[_Yielded]:
        yield from _studied(context, key, address)

    return candidate


def _studied(context: dg.AssetExecutionContext, key: list[str], address: str) -> Iterator[_Yielded]:
    # the optimizer takes 600 ms to import (measured); loading the location need not wait for it
    from optimizer_assets.optimise import alone, study  # noqa: PLC0415
    from optimizer_assets.told import diff  # noqa: PLC0415

    settings = Settings.from_env(os.environ)
    with _told():
        check_instance(context.instance)
    with _told(), alone(address, open_home(settings.home)):
        found = study(address, settings, partial(_hear, context, key))
    text = diff(found.subject.base, found.chosen.candidate) if found.chosen else ""
    metadata = candidate_metadata(found, text)
    if found.proof is None:
        context.log.info("nothing better was found for %s", address)
        yield dg.AssetObservation(key, metadata=metadata)
        return
    wanted = {check.name for check in context.selected_asset_check_keys}
    results = [
        dg.AssetCheckResult(
            asset_key=key,
            check_name=check.name,
            passed=check.passed,
            description=check.why,
            metadata=check_metadata(check),
        )
        for check in found.proof.verdict.checks
        if check.name in wanted
    ]
    if not context.selected_asset_keys:  # somebody executes checks alone
        yield from results
        return
    version = found.proof.version.hash
    yield dg.MaterializeResult(asset_key=key, metadata={**metadata, VERSION: version}, check_results=results)


def _prompt(slot: SlotSpec) -> dg.AssetsDefinition:
    key, address = slot_key(slot), f"{slot.pipeline}/{slot.step}"

    @dg.asset(
        key=key,
        deps=[[*key, "candidate"]],
        kinds={"json"},
        group_name="prompts",
        description=f"The prompt that runs of {address} use: the newest candidate, where the gate let it pass.",
    )
    def prompt(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        # the optimizer takes 600 ms to import (measured); loading the location need not wait for it
        from optimizer_assets.optimise import put_to_use  # noqa: PLC0415

        settings = Settings.from_env(os.environ)
        with _told():
            put = put_to_use(address, _newest(context, [*key, "candidate"]), settings)
        return dg.MaterializeResult(metadata=prompt_metadata(put))

    return prompt


def _newest(context: dg.AssetExecutionContext, key: list[str]) -> str:
    """The version that the newest candidate was saved as."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey(key))
    made = event.asset_materialization if event else None
    if made is None or VERSION not in made.metadata:
        raise dg.Failure("there is no candidate yet: materialise it first", allow_retries=False)
    return str(made.metadata[VERSION].value)


def _hear(context: dg.AssetExecutionContext, key: list[str], event: "Event") -> None:
    """Show each round while the others are under way: the plot of an asset draws its observations."""
    # the optimizer takes 600 ms to import (measured); loading the location need not wait for it
    from optimizer_assets.task import Iteration  # noqa: PLC0415
    from optimizer_assets.told import Began, as_json  # noqa: PLC0415

    if isinstance(event, Began):
        context.log.info("%s", as_json(event))
    elif isinstance(event, Iteration) and event.validation is not None:
        context.log_event(dg.AssetObservation(key, metadata=iteration_metadata(event)))


@contextmanager
def _told() -> Iterator[None]:
    """Failures of ours as Dagster shows them: in words, with what to do."""
    try:
        yield
    except ElexirionError as error:
        raise dg.Failure(str(error), metadata={"cause": error.cause}, allow_retries=False) from error
