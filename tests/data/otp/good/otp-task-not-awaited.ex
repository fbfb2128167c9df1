defmodule Report do
  def run(data) do
    task = Task.async(fn -> Store.write(data) end)
    Task.await(task, 10_000)
  end

  def begin(data) do
    Task.async(fn -> Store.write(data) end)
  end
end
