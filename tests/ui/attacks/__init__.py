"""The served page under attack: every test is something that a stranger could send."""
