"""The page behind real proxies, encrypted, and at every kind of address."""
