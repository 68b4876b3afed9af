"""Training data: where the drawings come from, what they show, and what is said about them."""
