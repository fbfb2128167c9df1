defmodule Parse do
  def number(text) do
    String.to_integer(text)
  rescue
    ArgumentError -> 0
  end

  def other(text) do
    String.to_integer(text)
  rescue
    error in ArgumentError -> {:error, error}
  end
end
