defmodule Feed do
  use GenServer

  def init(url) do
    # found
    {:ok, body} = Req.get(url)
    {:ok, body}
  end
end
