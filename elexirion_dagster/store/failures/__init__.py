"""What failed, what came after it, and how the parts do."""
