"""Small trees of each language with the exact records they give."""

import pytest

from elexirion_dagster.codebase.query.code_base import open_code
from elexirion_dagster.codebase.query.contents import find_files, find_symbols
from elexirion_dagster.codebase.query.survey import Means

PYTHON = """\
class Shape(Base):
    @property
    def area(self): return 1

    class _Inner:
        async def __call__(self):
            def helper():
                pass
            return helper
            # the end


def make(): pass
"""
JAVASCRIPT = """\
export class A extends B {
  #secret() {}
  static make = () => 1;
}
export const parse = async (text) => text, other = 1;
function* hidden() {
  const inner = function () {};
}
export { hidden as shown };
const Named = class {};
export default hidden;
"""
SCRIPT = "function a() {}\nmodule.exports = a;\n"
TYPESCRIPT = """\
export interface Shape<T> {
  area(x: T): number;
}
export abstract class K {
  private hide(): void {}
  abstract show(): void;
}
enum Color { Red }
export type Id = string;
namespace N {
  export function f(): void {}
}
declare function g(): void;
"""
TSX = "export const View = () => <p>{1}</p>;\n"
GO = """\
package a

type Point[T any] struct{ X T }
type (
	Reader interface{ Read() }
	count  int
	Alias  = int
)

func (p *Point[T]) Move() {}
func (count) less() {}
func New() *Point[int] { return nil }
"""
RUST = """\
pub struct P<T> { x: T }
enum E { A }
pub trait Draw { fn draw(&self); fn twice(&self) {} }
impl<T> P<T> {
    pub fn new() -> Self { fn inner() {} P }
    pub(crate) fn close(&self) {}
}
impl fmt::Display for P<u8> { fn fmt(&self) {} }
pub mod inside { type T = u8; union U { a: u8 } }
macro_rules! shout { () => {} }
"""
ELIXIR = """\
defmodule App.Shop do
  defstruct [:a]
  def price(0), do: 0
  def price(n) when n > 0 do
    n
  end
  def price(a, b), do: a + b
  defp hide, do: 1
  def a <~> b, do: {a, b}
  defmacro m(x), do: x
  defmodule Inner do
    def unquote(name)(), do: 1
    def go(), do: 1
  end
end
defprotocol Size do
  def size(x)
end
defimpl Size, for: Map do
  def size(x), do: 1
end
"""


def ask(root, **options):
    given = {"include": (), "exclude": (), "languages": (), **options}
    return open_code(root, means=Means(workers=2, timeout_s=60), **given)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        (
            "a.py",
            PYTHON,
            [
                ("class", "Shape", 1, 9, None, True),
                ("method", "area", 3, 3, "Shape", True),
                ("class", "_Inner", 5, 9, "Shape", False),
                ("method", "__call__", 6, 9, "Shape._Inner", True),
                ("function", "helper", 7, 8, "Shape._Inner.__call__", True),
                ("function", "make", 13, 13, None, True),
            ],
        ),
        (
            "a.mjs",
            JAVASCRIPT,
            [
                ("class", "A", 1, 4, None, True),
                ("method", "#secret", 2, 2, "A", False),
                ("method", "make", 3, 3, "A", True),
                ("function", "parse", 5, 5, None, True),
                ("function", "hidden", 6, 8, None, True),
                ("function", "inner", 7, 7, "hidden", False),
                ("class", "Named", 10, 10, None, False),
            ],
        ),
        ("a.js", SCRIPT, [("function", "a", 1, 1, None, None)]),
        (
            "a.ts",
            TYPESCRIPT,
            [
                ("interface", "Shape", 1, 3, None, True),
                ("method", "area", 2, 2, "Shape", True),
                ("class", "K", 4, 7, None, True),
                ("method", "hide", 5, 5, "K", False),
                ("method", "show", 6, 6, "K", True),
                ("enum", "Color", 8, 8, None, False),
                ("type", "Id", 9, 9, None, True),
                ("module", "N", 10, 12, None, False),
                ("function", "f", 11, 11, "N", True),
                ("function", "g", 13, 13, None, False),
            ],
        ),
        ("a.tsx", TSX, [("function", "View", 1, 1, None, True)]),
        ("a.jsx", TSX, [("function", "View", 1, 1, None, True)]),
        (
            "a.go",
            GO,
            [
                ("struct", "Point", 3, 3, None, True),
                ("interface", "Reader", 5, 5, None, True),
                ("type", "count", 6, 6, None, False),
                ("type", "Alias", 7, 7, None, True),
                ("method", "Move", 10, 10, "Point", True),
                ("method", "less", 11, 11, "count", False),
                ("function", "New", 12, 12, None, True),
            ],
        ),
        (
            "a.rs",
            RUST,
            [
                ("struct", "P", 1, 1, None, True),
                ("enum", "E", 2, 2, None, False),
                ("trait", "Draw", 3, 3, None, True),
                ("method", "draw", 3, 3, "Draw", True),
                ("method", "twice", 3, 3, "Draw", True),
                ("method", "new", 5, 5, "P", True),
                ("function", "inner", 5, 5, "P::new", False),
                ("method", "close", 6, 6, "P", False),
                ("method", "fmt", 8, 8, "P", None),
                ("module", "inside", 9, 9, None, True),
                ("type", "T", 9, 9, "inside", False),
                ("struct", "U", 9, 9, "inside", False),
                ("macro", "shout", 10, 10, None, None),
            ],
        ),
        (
            "a.ex",
            ELIXIR,
            [
                ("module", "App.Shop", 1, 15, None, True),
                ("struct", "App.Shop", 2, 2, "App.Shop", True),
                ("function", "price", 3, 6, "App.Shop", True),
                ("function", "price", 7, 7, "App.Shop", True),
                ("function", "hide", 8, 8, "App.Shop", False),
                ("function", "<~>", 9, 9, "App.Shop", True),
                ("macro", "m", 10, 10, "App.Shop", True),
                ("module", "App.Shop.Inner", 11, 14, "App.Shop", True),
                ("function", "go", 13, 13, "App.Shop.Inner", True),
                ("interface", "Size", 16, 18, None, True),
                ("function", "size", 17, 17, "Size", True),
                ("module", "Size", 19, 21, None, True),
                ("function", "size", 20, 20, "Size", True),
            ],
        ),
    ],
)
def test_every_definition_is_found_with_its_place_and_parent(tmp_path, path, source, expected):
    (tmp_path / path).write_text(source)
    answer = find_symbols(ask(tmp_path), name=None, kinds=())
    fields = ("kind", "name", "line", "end_line", "parent", "public")
    assert [tuple(one[field] for field in fields) for one in answer.records] == expected
    assert answer.unparsed == []
    assert {one["path"] for one in answer.records} == {path}


def test_symbols_are_chosen_by_name_and_kind(tmp_path):
    (tmp_path / "a.py").write_text(PYTHON)
    (tmp_path / "b.go").write_text(GO)
    code = ask(tmp_path)
    assert [one["name"] for one in find_symbols(code, name="{m,M}*", kinds=()).records] == ["make", "Move"]
    assert [one["name"] for one in find_symbols(code, name=None, kinds=["class", "struct"]).records] == [
        *("Shape", "_Inner"),
        "Point",
    ]
    assert {one["path"] for one in find_symbols(ask(tmp_path, languages=["go"]), name=None, kinds=()).records} == {
        "b.go"
    }


def test_files_are_chosen_by_name_content_and_language(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a_test.py").write_text("one\ntwo.*\n")
    (tmp_path / "sub" / "b_test.go").write_text("two.*\n")
    (tmp_path / "c.md").write_text("twofold\n")
    code = ask(tmp_path)
    found = find_files(code, name=None, contains="two.*").records
    assert [(one["path"], one["line"], one["language"]) for one in found] == [
        ("a_test.py", 2, "python"),
        ("sub/b_test.go", 1, "go"),
    ]
    assert [one["path"] for one in find_files(code, name="*_test.*", contains=None).records] == [
        "a_test.py",
        "sub/b_test.go",
    ]
    assert [(one["path"], one["size"], one["line"]) for one in find_files(code, name="c.*", contains=None).records] == [
        ("c.md", 8, None)
    ]
    assert [one["path"] for one in find_files(ask(tmp_path, languages=["go"]), name=None, contains=None).records] == [
        "sub/b_test.go"
    ]
    left = ask(tmp_path, include=["*.py", "sub/"], exclude=["a_*"])
    assert [one["path"] for one in find_files(left, name=None, contains=None).records] == ["sub/b_test.go"]
