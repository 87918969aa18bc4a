"""From encoded examples to padded batches: buckets, padding, the stream of updates."""
