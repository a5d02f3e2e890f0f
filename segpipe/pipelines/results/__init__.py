"""The results of pipelines, one for each image."""
