"""What is written for many results: their files, the index of them, and the summary."""
