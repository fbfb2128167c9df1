"""`workspace`: where a run writes, if not in a folder of its own."""

from elexirion_dagster.spec.base import Spec


class Workspace(Spec):
    """A git worktree that the run makes, works in and removes."""

    worktree_of: str
    """The repository: a template over inputs that names an input of type path."""
