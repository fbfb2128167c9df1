defmodule Waiter do
  def wait(ref) do
    # found
    receive do
      {^ref, answer} -> answer
    end
  end
end
