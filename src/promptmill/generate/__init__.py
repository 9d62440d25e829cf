"""Generation: requests -> outcomes, the only path to a model."""
