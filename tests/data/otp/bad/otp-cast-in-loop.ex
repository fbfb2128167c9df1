defmodule Import do
  def run(rows, sink) do
    Enum.each(rows, fn row ->
      # found
      GenServer.cast(sink, {:row, row})
    end)

    # found
    for row <- rows, do: send(sink, {:row, row})
  end
end
