defmodule Counter do
  use GenServer

  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: __MODULE__)
  def cache, do: Agent.start_link(fn -> %{} end)
end
