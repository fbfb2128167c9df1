defmodule Poller do
  use GenServer

  def handle_info(:poll, state) do
    # found
    send(self(), :poll)
    {:noreply, state}
  end
end
