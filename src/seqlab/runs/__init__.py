"""What a run leaves behind: its files, their schemas, its log; never imports torch."""
