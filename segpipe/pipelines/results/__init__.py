"""What pipelines return: one result for each image."""
