"""Selection: keeps prompts, and says why it dropped the others."""
