defmodule Import do
  def run(rows, sink) do
    GenServer.cast(sink, {:rows, rows})
    Enum.each(rows, fn row -> GenServer.call(sink, {:row, row}) end)
  end
end
