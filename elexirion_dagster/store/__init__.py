"""The shared memory: journal, ledger, tables, prompts."""
