defmodule Rooms do
  def open(id) do
    GenServer.start_link(Room, id, name: {:via, Registry, {Rooms.Registry, id}})
    :"a fixed name"
  end
end
