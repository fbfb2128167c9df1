"""Other people's documents turned into ours."""
