defmodule Gate do
  use GenServer

  def handle_cast(:open, state), do: {:noreply, Map.put(state, :opening, true)}
  def handle_info(:opened, state), do: {:noreply, Map.put(state, :open, true)}
end
