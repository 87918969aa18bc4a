"""What a problem is: examples to batch, loss sum, text and scores."""
