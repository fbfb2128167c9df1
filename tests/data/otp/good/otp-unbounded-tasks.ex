defmodule Crawl do
  def run(urls) do
    urls
    |> Task.async_stream(&fetch/1, max_concurrency: 20, timeout: 5_000)
    |> Enum.to_list()
  end
end
