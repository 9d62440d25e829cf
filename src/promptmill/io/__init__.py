"""Files in and out: JSON Lines with gzip and zstd (`jsonl`), JSON arrays (`items`), CSV and Parquet (`tables`)."""
