"""A loopback server that speaks the providers' wire formats, scripted by YAML."""
