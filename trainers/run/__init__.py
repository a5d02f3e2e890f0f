"""What a run leaves in its work directory, and how it is read back: nothing here knows the trainer."""
