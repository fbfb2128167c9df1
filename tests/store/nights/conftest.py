from scanned import repository  # noqa: F401 - a fixture
