"""What stands behind `expressions`: the sandboxed Jinja environment, its filters, tests, methods and bounds."""
