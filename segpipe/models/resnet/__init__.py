"""ResNet-V1c, an encoder of UN-EPT."""
