"""Well-kept analyzers, one file each, their output normalised; `catalog.py` names them all."""
