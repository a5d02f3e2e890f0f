"""The outputs of many results: their files, the index of these, and the summary."""
