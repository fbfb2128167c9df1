defmodule Session do
  def remember(user) do
    # found
    Process.put(:user, user)
  end

  # found
  def user, do: Process.get(:user)
end
