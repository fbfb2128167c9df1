defmodule Pool do
  def stop(worker) do
    # found
    Process.exit(worker, :kill)
  end
end
