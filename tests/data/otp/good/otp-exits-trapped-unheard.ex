defmodule Port do
  use GenServer

  def init(opts) do
    Process.flag(:trap_exit, true)
    {:ok, opts}
  end

  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
end
