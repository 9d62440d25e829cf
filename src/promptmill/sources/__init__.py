"""Sources: anything -> `Prompt` rows. One file per family of data."""
