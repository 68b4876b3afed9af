"""Reports: charts and tables below a finished run."""
