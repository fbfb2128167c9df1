defmodule Report do
  def run(data) do
    # found
    Task.async(fn -> Store.write(data) end)
    :ok
  end
end
