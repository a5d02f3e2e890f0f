"""From a prediction to its label map without logits at the image's size; `labelling` chooses among the three ways."""
