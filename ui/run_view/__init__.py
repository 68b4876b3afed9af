"""Run view: shows a run that lives in the studio."""
