"""What is each technique worth? Plan, queue, measures and page of an ablation."""
