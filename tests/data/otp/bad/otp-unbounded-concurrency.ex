defmodule Resize do
  def run(images) do
    # found
    Task.async_stream(images, &one/1, max_concurrency: :infinity)
  end
end
