defmodule Audit do
  def log(event) do
    # found
    Task.start(fn -> Store.write(event) end)
  end
end
