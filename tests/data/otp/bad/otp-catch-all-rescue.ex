defmodule Parse do
  def number(text) do
    String.to_integer(text)
  rescue
    # found
    _ -> 0
  end

  def other(text) do
    try do
      String.to_integer(text)
    rescue
      # found
      _error -> nil
    end
  end
end
