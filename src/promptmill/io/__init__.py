"""Files in and out: JSON Lines with gzip and zstd (`jsonl`), Parquet and CSV through DuckDB (`tables`)."""
