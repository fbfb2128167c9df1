defmodule Counter do
  use GenServer

  def start(opts) do
    # found
    GenServer.start(__MODULE__, opts)
  end

  # found
  def cache, do: Agent.start(fn -> %{} end)
end
