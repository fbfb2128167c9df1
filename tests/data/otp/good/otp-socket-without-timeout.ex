defmodule Wire do
  def ask(host) do
    {:ok, socket} = :gen_tcp.connect(host, 7, [:binary, active: false], 5_000)
    :gen_tcp.recv(socket, 0, 5_000)
  end
end
