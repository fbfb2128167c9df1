"""What a scan of a repository has to do: which files are due, in which batches, and what came of them."""
