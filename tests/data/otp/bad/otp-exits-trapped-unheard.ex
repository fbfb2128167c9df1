defmodule Port do
  use GenServer

  def init(opts) do
    # found
    Process.flag(:trap_exit, true)
    {:ok, opts}
  end
end
