"""Requests: what is asked, as frozen data, and the grammars it is written in. No torch."""
