defmodule Stock do
  use GenServer

  def handle_call(:total, _from, state) do
    # found
    items = GenServer.call(__MODULE__, :items, 1_000)
    {:reply, length(items), state}
  end
end
