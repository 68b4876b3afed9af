"""Grammar of prompts: weights, changes by step, tags, templates and embeddings."""
