"""Storage: the database file of the outputs folder, who works on it, and what is put aside."""
