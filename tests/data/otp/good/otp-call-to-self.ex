defmodule Stock do
  use GenServer

  def total, do: GenServer.call(__MODULE__, :total)

  def handle_call(:total, _from, state) do
    {:reply, length(items(state)), state}
  end

  defp items(state), do: state.items
end
