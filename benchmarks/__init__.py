"""Figures, not tests: each module prints ours beside a peer, as a ratio, with the machine named."""
