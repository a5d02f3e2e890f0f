"""Vision Transformer, the encoder of Segmenter and of UN-EPT."""
