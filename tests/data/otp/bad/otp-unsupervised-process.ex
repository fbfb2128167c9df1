defmodule Mailer do
  def deliver(mail) do
    # found
    spawn(fn -> Smtp.send(mail) end)
    # found
    spawn_link(Smtp, :send, [mail])
    # found
    Process.spawn(fn -> Smtp.send(mail) end, [:monitor])
  end
end
