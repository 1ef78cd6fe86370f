"""The model: loading, the loss at the supervised positions, the LightningModule and its trainer."""
