"""Questions about a code base: symbols, imports, dependents, impact; one file of rules per language."""
