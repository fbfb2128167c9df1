defmodule Gate do
  use GenServer

  def handle_cast(:open, state) do
    # found
    receive do
      :opened -> {:noreply, state}
    after
      100 -> {:noreply, state}
    end
  end
end
