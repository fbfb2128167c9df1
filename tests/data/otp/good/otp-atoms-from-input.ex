defmodule Api do
  def params(body), do: Jason.decode!(body, keys: :atoms!)
  def kind(bytes), do: :erlang.binary_to_existing_atom(bytes, :utf8)
  def plain(body), do: Jason.decode!(body)
end
