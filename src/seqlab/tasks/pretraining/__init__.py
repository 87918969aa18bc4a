"""Running text in: hidden words (BERT) or damaged passages (BART, T5) out."""
