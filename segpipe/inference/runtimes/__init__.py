"""What executes a network: torch as it is, torch.compile, ONNX Runtime, OpenVINO."""
