"""Which language a file is written in, by its name or its first line."""

from pathlib import PurePosixPath

OTHER = "other"

_SUFFIXES = {
    "python": ".py .pyi .pyw",
    "javascript": ".js .jsx .mjs .cjs",
    "typescript": ".ts .tsx .mts .cts",
    "go": ".go",
    "rust": ".rs",
    "elixir": ".ex .exs",
    "erlang": ".erl .hrl",
    "java": ".java",
    "kotlin": ".kt .kts",
    "scala": ".scala .sc",
    "swift": ".swift",
    "c": ".c .h",
    "cpp": ".cc .cpp .cxx .hh .hpp .hxx",
    "csharp": ".cs",
    "ruby": ".rb .rake .gemspec",
    "php": ".php",
    "lua": ".lua",
    "perl": ".pl .pm",
    "r": ".r",
    "julia": ".jl",
    "haskell": ".hs",
    "ocaml": ".ml .mli",
    "clojure": ".clj .cljs .cljc",
    "dart": ".dart",
    "zig": ".zig",
    "shell": ".sh .bash .zsh",
    "powershell": ".ps1 .psm1",
    "sql": ".sql",
    "html": ".html .htm",
    "css": ".css .scss .sass .less",
    "vue": ".vue",
    "svelte": ".svelte",
    "markdown": ".md .markdown",
    "restructuredtext": ".rst",
    "json": ".json .jsonl",
    "yaml": ".yaml .yml",
    "toml": ".toml",
    "xml": ".xml .xsd .svg",
    "terraform": ".tf .tfvars",
    "protobuf": ".proto",
}
_BY_SUFFIX = {suffix: language for language, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_BY_NAME = {"dockerfile": "dockerfile", "makefile": "make", "justfile": "make", "rakefile": "ruby", "gemfile": "ruby"}
_BY_PROGRAM = {
    b"python": "python",
    b"node": "javascript",
    b"deno": "typescript",
    b"bash": "shell",
    b"zsh": "shell",
    b"sh": "shell",
    b"ruby": "ruby",
    b"perl": "perl",
    b"elixir": "elixir",
    b"php": "php",
}


def language_of(path: str, head: bytes) -> str:
    """Tell the language of the file at `path` whose content begins with `head`; "other" where nothing tells."""
    place = PurePosixPath(path)
    known = _BY_SUFFIX.get(place.suffix.lower()) or _BY_NAME.get(place.name.lower())
    if known or place.suffix:
        return known or OTHER
    return _shebang(head) if head.startswith(b"#!") else OTHER


def _shebang(head: bytes) -> str:
    words = head[2:256].split(b"\n", 1)[0].split()
    programs = [word.rsplit(b"/", 1)[-1].rstrip(b"0123456789.") for word in words]
    return next((_BY_PROGRAM[program] for program in programs if program in _BY_PROGRAM), OTHER)
