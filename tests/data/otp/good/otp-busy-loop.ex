defmodule Poller do
  use GenServer

  def poke(pid), do: send(pid, :poll)

  def handle_info(:poll, state) do
    Process.send_after(self(), :poll, 1_000)
    {:noreply, state}
  end
end
