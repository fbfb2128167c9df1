defmodule Crawl do
  def run(urls) do
    urls
    # found
    |> Enum.map(fn url -> Task.async(fn -> fetch(url) end) end)
    |> Task.await_many()
  end
end
