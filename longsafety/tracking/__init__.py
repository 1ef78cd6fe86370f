"""MLflow: where finished runs and comparisons are logged."""
