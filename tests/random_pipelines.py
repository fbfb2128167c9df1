"""Valid pipelines made up at random, every step type that needs no network among them."""

import random
from typing import Any

Step = dict[str, Any]

WORDS = ("alpha", "beta", "gamma", "delta")
CONDITIONS = ("{{ inputs.n > 2 }}", "{{ inputs.n % 2 == 0 }}", "inputs.word in ['alpha', 'beta']")


class Maker:
    """Makes one pipeline; `rows` and `texts` are expressions known to give a list of records or a text."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not for secrets
        self.count = 0
        self.rows = ["inputs.rows"]
        self.texts = ["inputs.word", "run.pipeline"]
        self.vars: list[str] = []

    def pipeline(self, name: str) -> dict[str, Any]:
        steps = [self.step(depth=0) for _ in range(self.random.randint(2, 7))]
        rows, text = self.random.choice(self.rows), self.random.choice(self.texts)
        return {
            "name": name,
            "model": "fake",
            "inputs": {
                "n": {"type": "integer", "default": self.random.randint(0, 6)},
                "flag": {"type": "boolean", "default": self.random.random() < 0.5},
                "word": {"type": "string", "default": self.random.choice(WORDS)},
                "rows": {"type": "list", "default": self.records()},
            },
            "steps": steps,
            "outputs": {"rows": f"{{{{ {rows} }}}}", "text": f"{{{{ {text} }}}}"},
        }

    def records(self) -> list[dict[str, Any]]:
        return [
            {"id": number, "word": self.random.choice(WORDS), "size": self.random.randint(0, 5)}
            for number in range(self.random.randint(1, 5))
        ]

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def step(self, depth: int) -> Step:
        kinds = [self.set, self.transform, self.llm, self.files, self.command, self.sql]
        if depth < 2:
            kinds += [self.for_each, self.switch, self.while_, self.pipeline_step]
        step: Step = self.random.choice(kinds)(depth)
        if self.random.random() < 0.2:
            step["continue_on_error"] = True
        if self.random.random() < 0.15:
            step["when"] = self.random.choice(CONDITIONS)
        return step

    def known_text(self) -> str:
        return f"{{{{ {self.random.choice(self.texts)} }}}}"

    def known_rows(self) -> str:
        return f"{{{{ {self.random.choice(self.rows)} }}}}"

    def set(self, depth: int) -> Step:
        name, variable = self.name("set"), self.random.choice(("x", "y", "z"))
        step = {"name": name, "type": "set", "vars": {variable: self.known_text()}}
        if depth == 0 and variable not in self.vars:
            self.vars.append(variable)
            self.texts.append(f"vars.{variable}")
        return step

    def transform(self, depth: int) -> Step:
        name = self.name("transform")
        ops: list[dict[str, Any]] = self.random.sample(
            [
                {"filter": "item.size >= 1"},
                {"sort": [{"by": "word"}, {"by": "id", "order": "desc"}]},
                {"map": {"id": "{{ item.id }}", "word": "{{ item.word | upper }}", "size": "{{ item.size + 1 }}"}},
                {"limit": 3},
                {"unique": {"by": "word"}},
                {"join": {"with": "{{ inputs.rows }}", "on": "id", "how": "left", "as": "other"}},
            ],
            k=self.random.randint(1, 3),
        )
        step = {"name": name, "type": "transform", "from": self.known_rows(), "ops": ops}
        if depth == 0:
            self.rows.append(f"steps.{name}.data")
        return step

    def llm(self, depth: int) -> Step:
        name = self.name("llm")
        step: Step = {"name": name, "type": "llm", "prompt": f"Say {self.known_text()} and {self.known_text()}"}
        if self.random.random() < 0.3:
            step["output"] = {"said": "string", "sizes": ["integer"]}
        elif self.random.random() < 0.2:
            step["samples"] = 3
        if depth == 0:
            self.texts.append(f"steps.{name}.text")
        return step

    def files(self, _depth: int) -> Step:
        name = self.name("files")
        verbs = [
            {"write": {"path": f"{self.random.choice(WORDS)}.txt", "text": self.known_text()}},
            {"list": {"root": ".", "git": None}},
            {"read": {"path": f"{self.random.choice(WORDS)}.txt"}},  # fails where nothing was written
        ]
        return {"name": name, "type": "files", **self.random.choice(verbs)}

    def command(self, depth: int) -> Step:
        name = self.name("command")
        step = {"name": name, "type": "command", "run": ["printf", "%s", self.known_text()]}
        if self.random.random() < 0.15:
            step["expect_exit"] = [3]
        if depth == 0:
            self.texts.append(f"steps.{name}.data.stdout")
        return step

    def sql(self, _depth: int) -> Step:
        name = self.name("sql")
        query = self.random.choice(("SELECT word, count(*) AS n FROM t GROUP BY ALL ORDER BY word", "SELECT * FROM t"))
        return {"name": name, "type": "sql", "tables": {"t": self.known_rows()}, "query": query}

    def for_each(self, depth: int) -> Step:
        name = self.name("for_each")
        step = {
            "name": name,
            "type": "for_each",
            "items": self.known_rows(),
            "as": f"row_of_{name}",
            "key": f"{{{{ row_of_{name}.id }}}}",
            "max_parallel": self.random.choice((1, 4)),
            "on_error": self.random.choice(("fail", "skip", "collect")),
            "steps": self.inner(depth),
        }
        if step["on_error"] == "fail":
            step["max_parallel"] = 1  # which items come after the first failure is a matter of time otherwise
        return step

    def switch(self, depth: int) -> Step:
        return {
            "name": self.name("switch"),
            "type": "switch",
            "value": "{{ inputs.word }}",
            "cases": {word: self.inner(depth) for word in self.random.sample(WORDS, 2)},
            "default": self.inner(depth),
        }

    def while_(self, depth: int) -> Step:
        turns = self.random.randint(1, 3)
        return {
            "name": self.name("while"),
            "type": "while",
            "condition": f"{{{{ loop.index <= {turns} }}}}",
            "max_iterations": 4,
            "on_error": self.random.choice(("fail", "collect")),
            "steps": self.inner(depth),
        }

    def pipeline_step(self, _depth: int) -> Step:
        outer = self.rows, self.texts, self.vars
        self.rows, self.texts, self.vars = ["inputs.rows"], ["inputs.word", "run.pipeline"], []
        inner = [self.step(depth=2) for _ in range(self.random.randint(1, 2))]
        self.rows, self.texts, self.vars = outer
        child = {
            "inputs": {"word": {"type": "string"}, "rows": {"type": "list"}, "n": {"type": "integer", "default": 1}},
            "steps": inner,
        }
        inputs = {"word": self.known_text(), "rows": self.known_rows()}
        return {"name": self.name("pipeline"), "type": "pipeline", "pipeline": child, "inputs": inputs}

    def inner(self, depth: int) -> list[Step]:
        return [self.step(depth + 1) for _ in range(self.random.randint(1, 2))]
