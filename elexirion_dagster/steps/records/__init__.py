"""What transforms do to lists of records."""
