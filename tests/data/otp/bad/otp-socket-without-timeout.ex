defmodule Wire do
  def ask(host) do
    # found
    {:ok, socket} = :gen_tcp.connect(host, 7, [:binary, active: false])
    # found
    :gen_tcp.recv(socket, 0)
  end
end
