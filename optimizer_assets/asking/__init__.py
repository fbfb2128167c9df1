"""The one way to the models, and what is sent on it."""
