"""Training on derived rows, and proof that they are good for something."""
