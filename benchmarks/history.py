"""A made-up history of Python files: who wrote it knows which finding stands where after every commit."""

import random
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

BAD = {
    "assert False": "B011",
    "print(missing)": "F821",
    "ok = text is 'a'": "F632",
    "assert (text, 'never fails')": "F631",
}
"""Lines and what ruff says of them; few, so that many findings look the same."""
_PLAIN = ("total = total + 1", "names.append(text)", "if total:", "print(total)", "total = len(names)")
_NEWS = ("fix", "add", "copy function", "edit finding", "delete file")
_MOVES = (
    *("insert lines", "delete line", "move function", "move function away", "rename file", "rename function"),
    *("rename file and edit", "wrap", "comment", "swap files"),
)


@dataclass
class _Statement:
    text: str
    name: str | None = None
    wrapped: bool = False


@dataclass
class _Function:
    name: str
    body: list[_Statement] = field(default_factory=list)


class Author:
    """Writes files below `folder`; `commit` does a few things at a time and says which files they touched."""

    def __init__(self, folder: Path, chance: random.Random, files: int) -> None:
        self._folder, self._chance, self._wanted = folder, chance, files
        self._names = count(1)
        self._files: dict[str, list[_Function]] = {}
        self._places: dict[str, tuple[str, int]] = {}

    def truth(self) -> dict[str, tuple[str, int]]:
        """Path and line of every finding there is."""
        return dict(self._places)

    def commit(self) -> tuple[list[str], dict[str, str], list[str]]:
        """One commit: files touched, files renamed (old to new), files deleted."""
        before = {path: self._text(functions) for path, functions in self._files.items()}
        renamed: dict[str, str] = {}
        if not self._files:
            for _ in range(self._wanted):
                self._files[f"m{next(self._names)}.py"] = [self._function() for _ in range(self._chance.randint(2, 6))]
        else:
            for _ in range(self._chance.randint(1, 6)):
                self._do(self._chance.choice(_MOVES + _NEWS), renamed)
        after = {path: self._text(functions) for path, functions in self._files.items()}
        renamed = {old: new for old, new in renamed.items() if old in before and new in after}
        changed = [path for path, text in after.items() if before.get(path) != text or path in renamed.values()]
        deleted = [path for path in before if path not in after and path not in renamed]
        self._write(before, after)
        return changed, renamed, deleted

    def _write(self, before: dict[str, str], after: dict[str, str]) -> None:
        for path in before.keys() - after.keys():
            (self._folder / path).unlink()
        self._places = {}
        for path, text in after.items():
            (self._folder / path).write_text(text)
            for line, name in self._lines(self._files[path]):
                self._places[name] = (path, line)

    def _function(self) -> _Function:
        made = _Function(f"work{next(self._names)}")
        for _ in range(self._chance.randint(3, 9)):
            made.body.append(self._bad() if self._chance.random() < 0.4 else _Statement(self._plain()))
        return made

    def _bad(self) -> _Statement:
        return _Statement(self._chance.choice(sorted(BAD)), f"finding {next(self._names)}")

    def _plain(self) -> str:
        text = self._chance.choice(_PLAIN)
        return f"{text}\n        pass" if text.endswith(":") else text

    def _do(self, what: str, renamed: dict[str, str]) -> None:
        path = self._chance.choice(sorted(self._files))
        functions = self._files[path]
        one = self._chance.choice(functions)
        at = self._chance.randint(0, len(one.body))
        match what:
            case "insert lines":
                one.body[at:at] = [_Statement(self._plain()) for _ in range(self._chance.randint(1, 5))]
            case "comment":
                one.body.insert(at, _Statement(f"# note {next(self._names)}"))
            case "delete line":
                one.body[:] = [each for each in one.body if each.name or self._chance.random() > 0.3]
            case "wrap":
                for each in one.body:
                    each.wrapped = not each.wrapped
            case "move function":
                functions.remove(one)
                functions.insert(self._chance.randint(0, len(functions)), one)
            case "move function away" if len(functions) > 1:
                functions.remove(one)
                self._files[self._chance.choice(sorted(set(self._files) - {path}))].append(one)
            case "rename function":
                one.name = f"work{next(self._names)}"
            case _:
                self._move_file(what, path, one, renamed)

    def _move_file(self, what: str, path: str, one: _Function, renamed: dict[str, str]) -> None:
        match what:
            case "rename file" | "rename file and edit" if path not in renamed.values():
                new = f"m{next(self._names)}.py"
                self._files[new] = self._files.pop(path)
                renamed[path] = new
                if what != "rename file":
                    one.body.insert(0, _Statement(self._plain()))
            case "swap files":
                other = self._chance.choice(sorted(self._files))
                if other != path and not {path, other} & (renamed.keys() | set(renamed.values())):
                    self._files[path], self._files[other] = self._files[other], self._files[path]
                    renamed |= {path: other, other: path}
            case _:
                self._news(what, path, one)

    def _news(self, what: str, path: str, one: _Function) -> None:
        at = self._chance.randint(0, len(one.body))
        bad = [statement for statement in one.body if statement.name]
        match what:
            case "add":
                one.body.insert(at, self._bad())
            case "fix" if bad:
                one.body.remove(self._chance.choice(bad))
            case "edit finding" if bad:
                edited = self._chance.choice(bad)
                edited.text = self._chance.choice([text for text in BAD if text != edited.text])
                edited.name = f"finding {next(self._names)}"
            case "copy function":
                body = [_Statement(each.text, each.name and f"finding {next(self._names)}") for each in one.body]
                self._files[self._chance.choice(sorted(self._files))].append(_Function(one.name + "_copy", body))
            case "delete file" if len(self._files) > self._wanted // 2:
                del self._files[path]
                self._files[f"m{next(self._names)}.py"] = [self._function()]

    @staticmethod
    def _rows(functions: list[_Function]) -> list[tuple[str, str | None]]:
        rows: list[tuple[str, str | None]] = [("import subprocess", None), ("", None)]
        for function in functions:
            rows += [("", None), (f"def {function.name}(text, names, total=0):", None)]
            wrapped = any(each.wrapped for each in function.body)
            rows += [("    if names:", None)] if wrapped else []
            for each in function.body:
                indent = "        " if wrapped else "    "
                first, *more = each.text.split("\n")
                rows.append((indent + first, each.name))
                rows += [(line if not wrapped else "    " + line, None) for line in more]
            rows += [("    return subprocess, total", None), ("", None)]
        return rows

    def _text(self, functions: list[_Function]) -> str:
        return "".join(f"{line}\n" for line, _ in self._rows(functions))

    def _lines(self, functions: list[_Function]) -> list[tuple[int, str]]:
        return [(at, name) for at, (_, name) in enumerate(self._rows(functions), start=1) if name]
