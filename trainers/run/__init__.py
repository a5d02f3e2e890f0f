"""The files that a run leaves in its work directory, and reading them back: nothing here knows the trainer."""
