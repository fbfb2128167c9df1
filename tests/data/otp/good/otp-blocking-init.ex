defmodule Feed do
  use GenServer

  def init(url), do: {:ok, url, {:continue, :load}}

  def handle_continue(:load, url) do
    {:ok, body} = Req.get(url)
    {:noreply, body}
  end
end
