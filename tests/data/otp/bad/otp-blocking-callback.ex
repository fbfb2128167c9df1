defmodule Rates do
  use GenServer

  def handle_call({:rate, currency}, _from, state) do
    # found
    {:reply, HTTPoison.get("https://rates.example.org/" <> currency), state}
  end

  def handle_cast(:refresh, state) do
    # found
    Process.sleep(1_000)
    {:noreply, state}
  end

  def handle_info(:tick, state) when state != %{} do
    # found
    {_, 0} = System.cmd("sync", [])
    {:noreply, state}
  end
end
