import pytest

from elexirion_dagster.codebase.symbols import enclosing

PYTHON = """\
TOP = 1
@decorated
class Shop:
    async def buy(
        self,
    ) -> None:
        def inner():
            pass
        after = 1
# a comment
        still = 1
TAIL = 1
"""
ELIXIR = """\
defmodule Shop.Cart do
  defp put!(cart), do: cart
  def run(cart) do
    cart
  end
end
"""
SCRIPT = """\
export class Shop extends Base {
  async buy(text) {
    if (text) {
      call(text);
    }
  }
}
const sell = async (text) => {
  call(text);
};
module.exports = 1;
"""
GO = "func (s *Shop) Buy(text string) error {\n\tif true {\n\t\tcall()\n\t}\n}\n"
RUST = "impl<T> Display for Shop<T> {\n    pub(crate) async fn buy(&self) {\n        call();\n    }\n}\n"
JAVA = "public final class Shop {\n    public List<String> buy(String text) {\n        call(text);\n    }\n}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PYTHON, {1: "", 4: "Shop.buy", 8: "Shop.buy.inner", 9: "Shop.buy", 11: "Shop.buy", 12: ""}),
        (ELIXIR, {2: "Shop.Cart.put!", 4: "Shop.Cart.run"}),
        (SCRIPT, {4: "Shop.buy", 9: "sell", 11: ""}),
        (GO, {3: "Buy"}),
        (RUST, {3: "Display for Shop<T>.buy"}),
        (JAVA, {3: "Shop.buy"}),
    ],
    ids=["python", "elixir", "javascript", "go", "rust", "java"],
)
def test_a_line_stands_in_the_definitions_around_it(text, expected):
    assert enclosing(text.split("\n"), expected.keys()) == expected


def test_hostile_lines_and_lines_that_are_not_there_cost_little_and_break_nothing():
    lines = ["(" * 100_000, "fn " * 100_000, "\x00\ud800 def x", "impl<" * 10_000, " " * 100_000 + "def deep():"] * 200
    assert enclosing(lines, {0, 1_000, 5_000}).keys() == {1_000, 5_000}
    assert enclosing([], {7}) == {7: ""}
