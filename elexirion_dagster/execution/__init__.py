"""How runs run on one machine."""
