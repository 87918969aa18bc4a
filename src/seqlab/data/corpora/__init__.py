"""From records to examples: training, validation and test sets, cleaned and split."""
