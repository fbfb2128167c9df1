defmodule Ledger do
  def balance(pid), do: GenServer.call(pid, :balance, 2_000)
  def all(tasks), do: Task.await_many(tasks, 30_000)
  def one(task), do: Task.await(task)
end
