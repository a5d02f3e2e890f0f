"""From a prediction to its label map, exactly, without logits at the image's size."""
