defmodule Pool do
  def stop(worker) do
    Process.exit(worker, :shutdown)
    DynamicSupervisor.terminate_child(Pool.Supervisor, worker)
  end
end
