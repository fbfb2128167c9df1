defmodule Rooms do
  def open(id) do
    # found
    GenServer.start_link(Room, id, name: :"room_#{id}")
  end
end
