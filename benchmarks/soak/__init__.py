"""Long proofs: `just soak`."""
