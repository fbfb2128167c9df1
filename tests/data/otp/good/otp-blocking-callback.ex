defmodule Rates do
  use GenServer

  def fetch(currency), do: HTTPoison.get("https://rates.example.org/" <> currency)

  def handle_call({:rate, currency}, from, state) do
    Task.Supervisor.start_child(Rates.Tasks, fn ->
      GenServer.reply(from, HTTPoison.get("https://rates.example.org/" <> currency))
    end)

    {:noreply, state}
  end

  def handle_info(:tick, state) do
    {:noreply, Map.get(state, :next)}
  end
end
