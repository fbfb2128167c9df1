defmodule Cache do
  # found
  def fetch(agent, key), do: agent |> all() |> Map.get(key) || Agent.get(agent, & &1)
  # found
  def all(agent), do: Agent.get(agent, fn state -> state end)
end
