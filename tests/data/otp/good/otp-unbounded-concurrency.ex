defmodule Resize do
  def run(images) do
    Task.async_stream(images, &one/1, max_concurrency: System.schedulers_online())
  end
end
