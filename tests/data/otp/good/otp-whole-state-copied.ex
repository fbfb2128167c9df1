defmodule Cache do
  def fetch(agent, key), do: Agent.get(agent, &Map.get(&1, key))
  def size(agent), do: Agent.get(agent, fn state -> map_size(state) end)
end
