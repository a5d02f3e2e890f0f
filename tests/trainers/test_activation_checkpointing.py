"""Recomputed activations: the same numbers to the bit, and less memory."""

import pytest
import torch
from runs import build
from torch import nn

from segpipe.errors import InputError
from segpipe.models import EncoderConfig, HeadConfig, SegformerConfig, SegmentationModel, build_model

SMALL = EncoderConfig(dims=(16, 32, 40, 64), depths=(2, 2, 2, 2), heads=(1, 2, 5, 8), drop_path_rate=0.5)


def network(is_checkpointed):
    torch.manual_seed(0)
    model = build_model(SegformerConfig(num_classes=5, head=HeadConfig(channels=16), encoder=SMALL)).train()
    if is_checkpointed:
        model.apply_activation_checkpointing()
    return model


def loss_of(model):
    torch.manual_seed(1)  # the same blocks are dropped
    images = torch.rand(3, 3, 64, 64) * 255
    return model(images).square().mean()


@pytest.mark.usefixtures("one_thread")
def test_loss_and_gradients_are_the_same_to_the_bit_with_dropped_blocks():
    plain, checkpointed = network(False), network(True)
    losses = [loss_of(model) for model in (plain, checkpointed)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    pairs = zip(plain.parameters(), checkpointed.parameters(), strict=True)
    assert all(torch.equal(first.grad, second.grad) for first, second in pairs)
    assert plain.state_dict().keys() == checkpointed.state_dict().keys()


@pytest.mark.usefixtures("one_thread")
def test_autocast_gives_the_same_gradients_too():
    gradients = []
    for is_checkpointed in (False, True):
        model = network(is_checkpointed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model)
        loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


def kept_bytes(model):
    """Bytes that the forward pass keeps for the backward pass, but for the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is given twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = loss_of(model)
    assert loss.requires_grad
    return sum(size for size, _ in kept.values())


def test_less_than_a_third_is_kept_for_the_backward_pass():
    assert kept_bytes(network(True)) < kept_bytes(network(False)) / 3


def test_nothing_is_computed_twice_without_gradients():
    model, calls = network(True), []
    model.encoder.stages[0].blocks[0].norm1.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        loss_of(model)
    assert len(calls) == 1
    model.eval()
    loss_of(model).backward()
    assert len(calls) == 2
    model.train()
    loss_of(model).backward()
    assert len(calls) == 4


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("freeze", [[], ["stages.0", "stages.1"]])
def test_a_run_learns_the_same_weights(recipe, data_root, tmp_path, freeze):
    weights = []
    for is_checkpointed in (False, True):
        options = {"train.activation_checkpointing": is_checkpointed, "train.freeze": freeze}
        run = build(recipe, data_root, tmp_path / str(is_checkpointed), cfg_options=options)
        run.train()
        weights.append(run.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_network_without_blocks_says_so():
    class Plain(SegmentationModel):
        def __init__(self):
            super().__init__(SegformerConfig(num_classes=2))
            self.layer = nn.Conv2d(3, 2, 1)

    with pytest.raises(InputError, match=r"(?s)Plain has no blocks .*activation_checkpointing"):
        Plain().apply_activation_checkpointing()
