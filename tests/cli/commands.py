"""The command line in this process, in a folder of its own."""

GOOD = """
name: good
inputs:
  count: {type: integer, default: 2}
  mood: {type: string, enum: [calm, wild], default: calm}
steps:
  - {name: first, type: set, vars: {twice: "{{ inputs.count * 2 }}"}}
outputs: {twice: "{{ vars.twice }}"}
"""
