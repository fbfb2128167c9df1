"""What a started program may see, reach and use, and the process that keeps it to that."""
