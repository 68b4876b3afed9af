"""ControlNet conditioning: maps, adapters for each family, and residuals."""
