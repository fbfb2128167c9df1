"""The verbs of a files step that change files or look into them, one file each."""
