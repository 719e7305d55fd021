"""One trial: its teacher, training, budgets and scores."""
