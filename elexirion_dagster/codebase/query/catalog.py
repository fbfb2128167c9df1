"""Every language by its name."""

from collections.abc import Mapping

from elexirion_dagster.codebase.query.elixir import ELIXIR
from elexirion_dagster.codebase.query.go import GO
from elexirion_dagster.codebase.query.javascript import JAVASCRIPT, TYPESCRIPT
from elexirion_dagster.codebase.query.python import PYTHON
from elexirion_dagster.codebase.query.rules import Rules
from elexirion_dagster.codebase.query.rust import RUST

RULES: Mapping[str, Rules] = {
    "python": PYTHON,
    "javascript": JAVASCRIPT,
    "typescript": TYPESCRIPT,
    "go": GO,
    "rust": RUST,
    "elixir": ELIXIR,
}
