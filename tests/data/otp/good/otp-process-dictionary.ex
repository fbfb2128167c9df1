defmodule Session do
  def remember(session, user), do: Map.put(session, :user, user)
  def user(session), do: Map.get(session, :user)
end
