"""`command`: a program that the pipeline granted, without a shell."""

from collections.abc import Mapping, Sequence

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git_config import named_folders, steps_environment
from elexirion_dagster.errors import ElexirionError, InputError, PolicyError
from elexirion_dagster.records import Json, Tool
from elexirion_dagster.sandbox.hints import hint
from elexirion_dagster.shell import Completed, Limits, run
from elexirion_dagster.steps.tools.place import ToolPlace

_TIMEOUT_S = 120
_STREAM_BYTES = 12_000
_KEPT_BYTES = 4_000_000


def tool(programs: Sequence[str]) -> Tool:
    """The tool as a pipeline that grants these programs offers it."""
    return Tool(
        name="command",
        description=(
            "Run one program in the workspace and see its exit code and what it printed. There is no shell: no "
            f"pipes, no globs, no redirection. Programs: {', '.join(programs)}."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "program": {"type": "string", "enum": list(programs)},
                "arguments": {
                    "type": "array",
                    "items": {"type": "string"},
                    "maxItems": 1000,
                    "description": "What follows the program's name, one argument each",
                },
                "timeout_s": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 3600,
                    "description": f"Seconds it may take, {_TIMEOUT_S} when left out",
                },
            },
            "required": ["program"],
            "additionalProperties": False,
        },
    )


def use(arguments: Mapping[str, Json], place: ToolPlace) -> str:
    """Exit code, standard output and standard error."""
    program = arguments["program"]
    if program not in place.programs:
        granted = ", ".join(place.programs) or "none"
        raise PolicyError(f"{program!r} is not granted", cause="tool_denied", mend=f"Granted: {granted}.")
    args = [_executable(program), *arguments.get("arguments", [])]
    places = (place.workspace, *place.granted, *named_folders(args[1:], place.workspace))
    env = steps_environment(places, workspace=place.workspace, cancelled=place.cancelled)
    timeout_s = min(float(arguments.get("timeout_s", _TIMEOUT_S)), place.time_left_s())
    try:
        done = run(
            args,
            cwd=place.workspace,
            timeout_s=timeout_s,
            env=env,
            limits=Limits(output_bytes=_KEPT_BYTES),
            cancelled=place.cancelled,
            sandbox=place.sandbox,
        )
    except ElexirionError as error:
        if error.cause == "timeout":
            place.time_left_s()
            message = f"{program} was stopped after {timeout_s:g} s"
            raise InputError(message, mend="Give it less to do, or a larger timeout_s.") from error
        raise
    told = _told(done)
    reason = hint(done, place.sandbox, names_paths=False)
    return f"{told}\n{reason}" if reason else told


def _executable(program: str) -> str:
    """Where the program is; never one that lies in the workspace under its name."""
    found = find(program)
    if found is None:
        raise InputError(f"{program!r} is not installed", mend="Go on without it.")
    return found


def _told(done: Completed) -> str:
    parts = [f"exit code {done.exit_code}"]
    parts += [
        f"{name}:\n{_middle_out(text)}" for name, text in (("output", done.stdout), ("errors", done.stderr)) if text
    ]
    return "\n".join(parts)


def _middle_out(text: str) -> str:
    """A long text without its middle: what matters stands at the beginning or at the end."""
    data = text.encode()
    if len(data) <= _STREAM_BYTES:
        return text
    half = _STREAM_BYTES // 2
    head, tail = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
    return f"{head}\n[{len(data) - 2 * half:,} bytes left out]\n{tail}"
