defmodule Client do
  def ask(server) do
    GenServer.call(server, :ask)
  catch
    :exit, {:timeout, _} -> {:error, :busy}
  end
end
