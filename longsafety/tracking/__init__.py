"""Where results go: MLflow, figures, tables and the HTML report."""
