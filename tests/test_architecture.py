"""Who may import whom, as data. Change it here, with a reason, when it is wrong."""

import ast
import graphlib
import keyword
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from elexirion_dagster.providers.catalog import configured
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.steps import STEP_MODELS, Step
from elexirion_dagster.steps.catalog import RUNNERS

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("elexirion_dagster", "optimizer_assets")
MOST_LINES, MOST_FUNCTION_LINES = 350, 40

GROUND = {
    "errors",
    "records",
    "settings",
    "hosts",  # which server a request asks for: of the web server, the rehearsal server and the settings
    "redact",
    "shell",
    "sandbox",  # what a program that `shell` starts may see, reach and use
    "yamlio",
    "expressions",
    "tags",
    "templating",  # the insides of `expressions`, and `Keyed`, the list that templates address by key
}
BELOW: dict[str, set[str]] = {
    # floor 2: strangers to one another
    "spec": set(),
    "prompting": set(),
    "providers": set(),
    "store": set(),
    "codebase": set(),
    "alerts": set(),  # tells a command or a webhook
    "dialects": {"spec"},
    "inputs": {"spec"},  # so low because a pipeline step hands inputs to a pipeline, as a run does
    # floor 3
    "reservations": {"providers", "store", "spec"},  # what a call may spend; split from `calls` for length
    "calls": {"reservations", "providers", "store", "prompting", "spec"},  # spec: Retry is the language's word, and
    # what a call obeys
    # floor 4
    "steps": {
        "calls",
        "reservations",
        "spec",
        "inputs",
        "prompting",
        "codebase",
        "store",
        "providers",
    },  # providers: a model's name, abilities,
    # and which causes move on to the next model; sending stays with calls
    # floor 4 and a half: what is done after a failure, and what a run that recovers another is asked to change
    "recovery": {"steps", "spec", "dialects", "inputs", "store", "providers"},
    # floor 5: ONE step, and ONE run with its pins, limits and workspace
    "runner": {"recovery", "steps", "calls", "store", "spec"},
    "pins": {
        "recovery",
        "steps",
        "store",
        "spec",
        "providers",
    },  # what a run settled when it began; split from `run` for length
    "configuration": {"providers", "alerts"},  # the settings as a whole, for check, doctor, up and health
    "progress": {"store"},
    "workspace": {"store", "codebase"},
    "scan": {  # what is due: joins the files' state, git, and the rules, models and prompts of a pipeline
        "pins",
        "inputs",
        "steps",
        "store",
        "spec",
        "providers",
        "codebase",
    },
    "run": {
        "scan",
        "runner",
        "recovery",
        "pins",
        "inputs",
        "progress",
        "workspace",
        "steps",
        "calls",
        "reservations",
        "store",
        "spec",
        "providers",
        "codebase",
    },
}
FLOOR_5 = {*BELOW}
BELOW |= {
    # floor 6: not one another
    "reports": FLOOR_5,
    "rehearsal": FLOOR_5,
    "compiler": FLOOR_5,
    "execution": FLOOR_5,
}
FLOOR_6 = {*BELOW}
BELOW |= {
    # floor 7
    "definitions": FLOOR_6,  # joins compiler, execution and reports
    "component": {*FLOOR_6, "definitions"},  # the same pipelines for projects of Dagster's own `dg`
    "operations": {*FLOOR_6, "definitions"},  # runs a pipeline with the definitions' executor
    # floor 8
    "cli": {"operations", "reports"},  # reports: terminal tables are reports too
    "web": {"inputs"},  # started by `elexirion up`; inputs: which of them are secrets, and which are paths
}
OPTIMIZER = {"spec", "prompting", "providers", "store", "codebase", "calls", "reservations", "dialects"}

FENCES: dict[str, set[str]] = {
    "dagster": {
        "compiler",
        "execution",
        "operations",
        "definitions",
        "component",
        "optimizer_assets",
        "web.dagster_ui",
        "web.code_server_client",
    },
    "dagster_webserver": {"web.dagster_ui"},
    "dagster_graphql": {"web"},
    "graphql": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "dspy": {"optimizer_assets.searching"},
    "gepa": {"optimizer_assets.searching"},
    "duckdb": {"store", "steps.sql"},
    "anthropic": {"providers"},
    "openai": {"providers"},
    "google": {"providers"},
    "httpx": {"providers", "alerts"},
    "httpx2": {"providers"},
    "yaml": {"yamlio"},
    "subprocess": {"sandbox", "execution"},
    "click": {"cli", "reports"},
    "rich": {"cli", "reports"},
    "litellm": set(),
}
"""Which rooms, or single modules of one, may import a foreign package (litellm: none)."""

COST = re.compile(r"#.*\b\d+(\.\d+)? m?s\b")


@dataclass(frozen=True)
class Import:
    """One import statement: the module that has it, what it imports, where."""

    module: str
    imported: str
    file: Path
    line: int
    inside: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(REPOSITORY)}:{self.line} imports {self.imported}"


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports() -> Iterator[Import]:
    for path in files():
        tree = tree_of(path)
        top = {id(node) for node in tree.body} | {id(inner) for node in tree.body for inner in typing_only(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                yield Import(module_name(path), name, path, node.lineno, inside=id(node) not in top)


def typing_only(node: ast.stmt) -> list[ast.stmt]:
    """What stands under `if TYPE_CHECKING:`, which costs nothing when the program runs."""
    checks = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return node.body if checks else []  # type: ignore[attr-defined]


def room(module: str) -> str:
    """`elexirion_dagster.steps.llm` is in `steps`; all of the optimizer is one room."""
    package, *rest = module.split(".")
    return package if package != "elexirion_dagster" or not rest else rest[0]


ALL = tuple(imports())
OURS = tuple(one for one in ALL if one.imported.split(".")[0] in PACKAGES and one.imported.count("."))


def test_every_room_is_in_the_table():
    rooms = {room(module_name(path)) for path in files()} - {"elexirion_dagster", "optimizer_assets"}
    assert rooms <= GROUND | BELOW.keys()


def test_rooms_import_only_what_lies_below_them():
    wrong = []
    for one in OURS:
        here, there = room(one.module), room(one.imported)
        allowed = GROUND | (OPTIMIZER if here == "optimizer_assets" else BELOW.get(here, set()))
        if there not in {here, "elexirion_dagster", *allowed}:
            wrong.append(str(one))
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_nobody_imports_the_optimizer():
    assert not [str(one) for one in OURS if room(one.imported) == "optimizer_assets" != room(one.module)]


def test_there_is_no_cycle_among_modules():
    known = {module_name(path) for path in files()}
    graph = {module: {one.imported for one in OURS if one.module == module} & known - {module} for module in known}
    graphlib.TopologicalSorter(graph).prepare()


def test_foreign_packages_stay_behind_their_fences():
    wrong = [
        str(one)
        for one in ALL
        if (fence := FENCES.get(one.imported.split(".")[0])) is not None
        and not any(f"{one.module.removeprefix('elexirion_dagster.')}.".startswith(f"{inside}.") for inside in fence)
    ]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_an_import_inside_a_function_states_what_it_saves():
    wrong = []
    for one in ALL:
        lines = one.file.read_text(encoding="utf-8").splitlines()
        if one.inside and not any(COST.search(line) for line in lines[max(one.line - 4, 0) : one.line]):
            wrong.append(str(one))
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_no_program_of_ours_imports_from_the_current_folder():
    """`python -m` would look for every module there first, and the folder may be somebody else's repository."""
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"""sys\.executable, (?!["']-[PI]["'])""", line)
    ]
    assert not wrong


def test_annotations_are_not_postponed():
    assert not [str(one) for one in ALL if one.imported == "__future__.annotations"]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= MOST_FUNCTION_LINES, node.name


@pytest.mark.parametrize(
    "path",
    [path for path in files() if path.name == "__init__.py"],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_an_init_file_holds_a_docstring_and_nothing_else(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_every_step_type_has_a_runner_and_a_file_of_its_name():
    members = {
        typing.get_args(model.model_fields["type"].annotation)[0] for model in typing.get_args(typing.get_args(Step)[0])
    }
    assert members == STEP_MODELS.keys() == RUNNERS.keys()
    for name in members:
        stem = f"{name}_" if keyword.iskeyword(name) else name  # `while` cannot be imported
        assert RUNNERS[name].__module__ == f"elexirion_dagster.steps.{stem}"


def test_every_provider_keeps_the_contract_in_a_test():
    text = (REPOSITORY / "tests" / "providers" / "contract" / "contract_wires.py").read_text(encoding="utf-8")
    for name, _, _ in configured(Settings()):
        assert re.search(rf"[\"']{name}[\"']", text), f"{name} is not among the contract's parameters"
