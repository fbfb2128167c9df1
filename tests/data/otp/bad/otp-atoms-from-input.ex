defmodule Api do
  # found
  def params(body), do: Jason.decode!(body, keys: :atoms)
  # found
  def kind(bytes), do: :erlang.binary_to_atom(bytes, :utf8)
end
