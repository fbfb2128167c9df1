"""How an llm step comes to its answer."""
