"""Run steps again and again as long as a condition holds."""

from collections.abc import Mapping
from dataclasses import replace

from elexirion_dagster.errors import Cancelled, ElexirionError, StorageError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.references import asks_inside
from elexirion_dagster.spec.steps import WhileStep
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.gathered import Gathered
from elexirion_dagster.steps.sequence import run_sequence


def run(step: WhileStep, ctx: StepContext) -> StepResult:
    """Work through the turns; `results` holds one record per turn: index (from 1), status, inner steps by name."""
    return _Loop(step, ctx).result()


class _Loop:
    """One while step under way: what its next turn sees, and what its turns came to."""

    def __init__(self, step: WhileStep, ctx: StepContext) -> None:
        self._step = step
        self._ctx = ctx
        self._asks_inside = asks_inside(step, ctx.shared.engine)
        self._views: dict[str, Json] = {}
        self._vars: dict[str, Json] = {}
        self._met = False
        self._gathered = Gathered(step.on_error, "turns")

    def result(self) -> StepResult:
        """The whole. What ends it from outside (a wrong condition, no time) keeps what the turns cost."""
        error = None
        try:
            self._turns()
        except (Cancelled, StorageError):
            raise
        except ElexirionError as caught:
            error = self._ctx.told(caught)
        turns = self._gathered.done
        self._report(turns)
        whole = self._gathered.whole({"iterations": turns, "condition_met": self._met}, total=turns)
        whole = replace(whole, vars=self._vars)
        return whole if error is None else replace(whole, status="failed", error=error, reason=None)

    def _turns(self) -> None:
        most = self._step.max_iterations
        self._report(most)
        while not self._gathered.stopped:
            self._ctx.go_on()
            turn = self._gathered.done + 1
            if not self._holds(turn):
                self._met = True
                return
            if turn > most:
                raise ElexirionError(
                    f"the condition of {self._ctx.path} still holds after {most} turns",
                    cause="max_turns",
                    mend="Raise max_iterations, or set continue_on_error to go on with what there is.",
                )
            self._turn(turn)
            self._report(most)

    def _holds(self, turn: int) -> bool:
        """Whether another turn is wanted; a condition on the steps inside cannot be asked before the first."""
        condition = self._step.condition
        if isinstance(condition, bool) or (self._asks_inside and turn == 1):
            return condition is not False
        return self._ctx.shared.engine.condition(condition, self._scope(turn))

    def _turn(self, turn: int) -> None:
        sequel = run_sequence(self._step.steps, self._ctx, suffix=f"[{turn}]", scope=self._scope(turn))
        self._views.update(sequel.views)
        self._vars.update(sequel.vars)
        self._gathered.take(turn, {"index": turn}, sequel, label=str(turn))

    def _scope(self, turn: int) -> Mapping[str, Json]:
        """What a turn sees: the steps as the turn before left them, variables as they stand."""
        outer = self._ctx.scope
        return {
            **outer,
            "steps": {**outer["steps"], **self._views},
            "vars": {**outer["vars"], **self._vars},
            "loop": {"index": turn, "index0": turn - 1},
        }

    def _report(self, of: int) -> None:
        """Tell how far it is; whoever listens thins it out."""
        self._ctx.shared.progress(self._ctx.path, self._gathered.done, self._gathered.counts["failed"], of, None)
