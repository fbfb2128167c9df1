defmodule Mailer do
  def deliver(mail) do
    Task.Supervisor.start_child(Mailer.Tasks, fn -> Smtp.send(mail) end)
    Egg.spawn(mail)
  end
end
