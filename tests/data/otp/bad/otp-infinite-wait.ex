defmodule Ledger do
  # found
  def balance(pid), do: GenServer.call(pid, :balance, :infinity)

  def all(tasks) do
    # found
    Task.await_many(tasks, :infinity)
  end

  # found
  def one(task), do: task |> Task.await(:infinity)
end
