defmodule Waiter do
  def wait(ref) do
    receive do
      {^ref, answer} -> answer
    after
      5_000 -> {:error, :timeout}
    end
  end
end
