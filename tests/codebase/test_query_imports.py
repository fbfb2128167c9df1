"""What is written in each language and which file it means."""

from pathlib import Path

import pytest

from elexirion_dagster.codebase.query.code_base import open_code
from elexirion_dagster.codebase.query.dependencies import find_dependents, find_impact, find_imports, is_test, paths_of
from elexirion_dagster.codebase.query.survey import Means
from elexirion_dagster.errors import InputError

PYTHON = {
    "pyproject.toml": "",
    "src/shop/__init__.py": "from .prices import price as p\n",
    "src/shop/prices.py": "import os, json.decoder as d\nfrom . import tax, missing\nfrom .. import nothing\n",
    "src/shop/tax.py": "from shop.deep.inner import (\n    a,\n    b,\n)\nimport tomllib, yaml\n",
    "src/shop/deep/inner.py": "from ..tax import *\nfrom ...x import y\nfrom .... import z\n",
    "src/shop/types.py": "import types\n",
    "tests/conftest.py": "",
    "tests/rehearsed.py": "",
    "tests/unit/test_prices.py": (
        "import shop.prices\nfrom shop import price, tax\nimport rehearsed\nimport shop.gone\n"
    ),
    "tools/run.py": "import beside\nif True:\n    from shop import tax\n",
    "tools/beside.py": "import beside\n",
}
JAVASCRIPT = {
    "tsconfig.json": """{
      // comments and last commas are allowed here
      "compilerOptions": {"baseUrl": "./src", "paths": {"@lib/*": ["lib/*"], "@one": ["lib/one.ts"],},},
    }""",
    "packages/p/tsconfig.json": '{"extends": "../../tsconfig", "compilerOptions": {}}',
    "packages/p/a.ts": 'import { one } from "@lib/one";\n',
    "src/main.ts": """import a, { b as c, type D } from "./lib/one.js";
import * as all from './lib';
export { q } from "@lib/view";
import one = require("@one");
const dynamic = () => import("./data.json");
import type { T } from "lib/types";
import "react";
import gone from "./gone";
import out from "../../../etc/passwd";
require(variable);
""",
    "src/lib/index.ts": "",
    "src/lib/one.ts": "",
    "src/lib/view.tsx": "",
    "src/lib/types.d.ts": "",
    "src/data.json": "{}",
    "plain/a.cjs": "const b = require('./b');\nconst up = require('..');\n",
    "plain/b.js": "",
    "plain/b.ts": "",
    "index.js": "",
}
GO = {
    "go.mod": "// a module\nmodule example.com/shop // here\n",
    "main.go": 'package main\nimport (\n\t"fmt"\n\tp "example.com/shop/prices"\n\t_ "example.com/shop/gone"\n)\n',
    "prices/a.go": "package prices\n",
    "prices/b.go": 'package prices\nimport "example.com/shop/nested/x"\n',
    "prices/a_test.go": 'package prices\nimport "testing"\n',
    "nested/go.mod": "module example.com/shop/nested\n",
    "nested/x/x.go": "package x\n",
}
RUST = {
    "Cargo.toml": "[workspace]\n",
    "core-lib/Cargo.toml": '[package]\nname = "core-lib"\n',
    "core-lib/src/lib.rs": "pub mod a;\nmod inline { pub mod leaf; }\npub use crate::a::deep::Thing;\nuse std::fmt;\n",
    "core-lib/src/a.rs": "pub mod deep;\nuse super::inline::leaf::L;\nuse self::deep::{Thing, self as d};\n",
    "core-lib/src/a/deep.rs": (
        "use super::{x, super::inline};\n#[cfg(test)]\nmod tests { use super::*; use crate::a::y; }\n"
    ),
    "core-lib/src/inline/leaf.rs": "",
    "core-lib/tests/all.rs": "mod common;\nuse core_lib::a::deep::*;\nuse core_lib::Root;\nextern crate serde;\n",
    "core-lib/tests/common/mod.rs": "",
    "app/Cargo.toml": '[package]\nname = "app"\n',
    "app/src/main.rs": "mod one;\nuse one::One;\nuse core_lib::a;\n",
    "app/src/one.rs": "use crate::two;\n",
}
ELIXIR = {
    "lib/shop.ex": "defmodule Shop do\n  alias __MODULE__.{Price, Tax}\n  use GenServer\nend\n",
    "lib/price.ex": "defmodule Shop.Price do\n  import Shop.Tax, only: [a: 1]\n  require Logger\nend\n",
    "lib/tax.ex": "defmodule Shop do\n  defmodule Tax do\n    alias Shop.Price, as: P\n  end\nend\n",
    "test/shop_test.exs": "defmodule ShopTest do\n  use ExUnit.Case\n  alias Shop.Price\nend\n",
}


def plant(root: Path, files):
    for path, source in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(source)
    return open_code(root, include=(), exclude=(), languages=(), means=Means(workers=2, timeout_s=60))


def written(code, path):
    answer = find_imports(code, of=[path])
    assert all(one["external"] is (one["files"] == []) for one in answer.records)
    return [(one["line"], one["module"], one["files"]) for one in answer.records]


@pytest.mark.parametrize(
    ("files", "path", "expected"),
    [
        (PYTHON, "src/shop/__init__.py", [(1, ".prices", ["src/shop/prices.py"])]),
        (
            PYTHON,
            "src/shop/prices.py",
            [
                (1, "os", []),
                (1, "json.decoder", []),
                (2, ".", ["src/shop/__init__.py", "src/shop/tax.py"]),
                (3, "..", []),
            ],
        ),
        (
            PYTHON,
            "src/shop/tax.py",
            [(1, "shop.deep.inner", ["src/shop/deep/inner.py"]), (5, "tomllib", []), (5, "yaml", [])],
        ),
        (PYTHON, "src/shop/deep/inner.py", [(1, "..tax", ["src/shop/tax.py"]), (2, "...x", []), (3, "....", [])]),
        (PYTHON, "src/shop/types.py", [(1, "types", [])]),
        (
            PYTHON,
            "tests/unit/test_prices.py",
            [
                (1, "shop.prices", ["src/shop/prices.py"]),
                (2, "shop", ["src/shop/__init__.py", "src/shop/tax.py"]),
                (3, "rehearsed", ["tests/rehearsed.py"]),
                (4, "shop.gone", []),
            ],
        ),
        (PYTHON, "tools/run.py", [(1, "beside", ["tools/beside.py"]), (3, "shop", ["src/shop/tax.py"])]),
        (PYTHON, "tools/beside.py", [(1, "beside", [])]),
        (
            JAVASCRIPT,
            "src/main.ts",
            [
                (1, "./lib/one.js", ["src/lib/one.ts"]),
                (2, "./lib", ["src/lib/index.ts"]),
                (3, "@lib/view", ["src/lib/view.tsx"]),
                (4, "@one", ["src/lib/one.ts"]),
                (5, "./data.json", ["src/data.json"]),
                (6, "lib/types", ["src/lib/types.d.ts"]),
                (7, "react", []),
                (8, "./gone", []),
                (9, "../../../etc/passwd", []),
            ],
        ),
        (JAVASCRIPT, "packages/p/a.ts", [(1, "@lib/one", ["src/lib/one.ts"])]),
        (JAVASCRIPT, "plain/a.cjs", [(1, "./b", ["plain/b.js"]), (2, "..", ["index.js"])]),
        (
            GO,
            "main.go",
            [
                (3, "fmt", []),
                (4, "example.com/shop/prices", ["prices/a.go", "prices/b.go"]),
                (5, "example.com/shop/gone", []),
            ],
        ),
        (GO, "prices/b.go", [(2, "example.com/shop/nested/x", ["nested/x/x.go"])]),
        (
            RUST,
            "core-lib/src/lib.rs",
            [
                (1, "a", ["core-lib/src/a.rs"]),
                (2, "leaf", ["core-lib/src/inline/leaf.rs"]),
                (3, "crate::a::deep::Thing", ["core-lib/src/a/deep.rs"]),
                (4, "std::fmt", []),
            ],
        ),
        (
            RUST,
            "core-lib/src/a.rs",
            [
                (1, "deep", ["core-lib/src/a/deep.rs"]),
                (2, "super::inline::leaf::L", ["core-lib/src/inline/leaf.rs"]),
                (3, "self::deep::Thing", ["core-lib/src/a/deep.rs"]),
                (3, "self::deep::self", ["core-lib/src/a/deep.rs"]),
            ],
        ),
        (
            RUST,
            "core-lib/src/a/deep.rs",
            [
                (1, "super::x", ["core-lib/src/a.rs"]),
                (1, "super::super::inline", ["core-lib/src/lib.rs"]),
                (3, "super::*", []),
                (3, "crate::a::y", ["core-lib/src/a.rs"]),
            ],
        ),
        (
            RUST,
            "core-lib/tests/all.rs",
            [
                (1, "common", ["core-lib/tests/common/mod.rs"]),
                (2, "core_lib::a::deep::*", ["core-lib/src/a/deep.rs"]),
                (3, "core_lib::Root", ["core-lib/src/lib.rs"]),
                (4, "serde", []),
            ],
        ),
        (
            RUST,
            "app/src/main.rs",
            [
                (1, "one", ["app/src/one.rs"]),
                (2, "one::One", ["app/src/one.rs"]),
                (3, "core_lib::a", ["core-lib/src/a.rs"]),
            ],
        ),
        (RUST, "app/src/one.rs", [(1, "crate::two", ["app/src/main.rs"])]),
        (
            ELIXIR,
            "lib/shop.ex",
            [(2, "Shop.Price", ["lib/price.ex"]), (2, "Shop.Tax", ["lib/tax.ex"]), (3, "GenServer", [])],
        ),
        (ELIXIR, "lib/price.ex", [(2, "Shop.Tax", ["lib/tax.ex"]), (3, "Logger", [])]),
        (ELIXIR, "lib/tax.ex", [(3, "Shop.Price", ["lib/price.ex"])]),
    ],
)
def test_imports_are_as_written_and_lead_to_the_file_they_mean(tmp_path, files, path, expected):
    assert written(plant(tmp_path, files), path) == expected


def test_names_are_what_is_taken_from_a_module(tmp_path):
    code = plant(tmp_path, {**PYTHON, **JAVASCRIPT})
    names = {(one["path"], one["line"]): one["names"] for one in find_imports(code, of=None).records}
    assert names["src/main.ts", 1] == ["default", "b", "D"]
    assert names["src/main.ts", 2] == ["*"]
    assert names["src/main.ts", 3] == ["q"]
    assert names["src/shop/tax.py", 1] == ["a", "b"]
    assert names["src/shop/deep/inner.py", 1] == ["*"]


@pytest.mark.parametrize(
    ("files", "of", "direct", "impact"),
    [
        (
            PYTHON,
            "src/shop/deep/inner.py",
            [("src/shop/tax.py", 1)],
            [
                ("src/shop/tax.py", 1, "src/shop/deep/inner.py", False),
                ("src/shop/prices.py", 2, "src/shop/tax.py", False),
                ("tests/unit/test_prices.py", 2, "src/shop/tax.py", True),
                ("tools/run.py", 2, "src/shop/tax.py", False),
                ("src/shop/__init__.py", 3, "src/shop/prices.py", False),
            ],
        ),
        (
            GO,
            "nested/x/x.go",
            [("prices/b.go", 2)],
            [
                ("prices/b.go", 1, "nested/x/x.go", False),
                ("main.go", 2, "prices/b.go", False),
                ("prices/a.go", 2, "prices/b.go", False),
                ("prices/a_test.go", 2, "prices/b.go", True),
            ],
        ),
        (
            GO,
            "prices/a.go",
            [("main.go", 4), ("prices/a_test.go", None), ("prices/b.go", None)],
            [
                ("main.go", 1, "prices/a.go", False),
                ("prices/a_test.go", 1, "prices/a.go", True),
                ("prices/b.go", 1, "prices/a.go", False),
            ],
        ),
        (
            ELIXIR,
            "lib/tax.ex",
            [("lib/price.ex", 2), ("lib/shop.ex", 2)],
            [
                ("lib/price.ex", 1, "lib/tax.ex", False),
                ("lib/shop.ex", 1, "lib/tax.ex", False),
                ("test/shop_test.exs", 2, "lib/price.ex", True),
            ],
        ),
    ],
)
def test_dependents_are_direct_and_impact_goes_on_nearest_first(tmp_path, files, of, direct, impact):
    code = plant(tmp_path, files)
    found = find_dependents(code, of=[of]).records
    assert [(one["path"], one["line"]) for one in found] == direct
    reached = find_impact(code, of=[of], max_depth=None).records
    assert [(one["path"], one["depth"], one["via"], one["is_test"]) for one in reached] == impact
    nearest = find_impact(code, of=[of], max_depth=1).records
    assert [one["path"] for one in nearest] == [one["path"] for one in found]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *(("test_a.py", True), ("a_test.py", True), ("tests/helpers.py", True), ("testing.py", False)),
        *(("a.test.ts", True), ("src/__tests__/a.jsx", True), ("a.spec.mjs", True), ("latest.js", False)),
        *(("a_test.go", True), ("tests/a.go", False), ("core/tests/a.rs", True), ("src/tests.rs", False)),
        *(
            ("test/a_test.exs", True),
            ("test/test_helper.exs", True),
            ("lib/test.ex", False),
            ("tests/README.md", False),
        ),
    ],
)
def test_tests_are_known_by_the_conventions_of_their_language(path, expected):
    assert is_test(path) is expected


def test_of_takes_paths_and_records_and_refuses_what_is_no_file(tmp_path):
    code = plant(tmp_path, PYTHON)
    record = {"root": str(tmp_path / "src"), "path": "shop/tax.py"}
    assert paths_of(code, ["./tools/run.py", record, str(tmp_path / "tools" / "run.py")]) == [
        "tools/run.py",
        "src/shop/tax.py",
    ]
    assert paths_of(code, []) == []
    for wrong in ("tools/rum.py", "../tools/run.py", "/etc/passwd", "", None, 3, {"name": "x"}, [["tools/run.py"]]):
        with pytest.raises(InputError):
            paths_of(code, wrong)
    with pytest.raises(InputError, match=r"rum\.py") as error:
        paths_of(code, "tools/rum.py")
    assert "Did you mean tools/run.py?" in error.value.mend
    with pytest.raises(InputError, match=r"pyproject\.toml"):
        find_imports(code, of=["pyproject.toml"])


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"compilerOptions": []}', "\0", "[" * 100_000, '{"extends": "./tsconfig"}']
)
def test_a_broken_configuration_is_as_good_as_none(tmp_path, text):
    files = {"tsconfig.json": text, "Cargo.toml": text, "go.mod": text, "a.ts": "import 'x'; import './b'", "b.ts": ""}
    code = plant(tmp_path, {**files, "src/lib.rs": "use a::b;\n", "a.go": 'package a\nimport "x"\n'})
    assert [one["files"] for one in find_imports(code, of=None).records] == [[], [], ["b.ts"], []]
