"""SegFormer-Pytorch's names give the published networks."""

import pytest
import torch

from segpipe.compat import segformer_pytorch
from segpipe.errors import ConfigurationError

# Worked out from the paper's dimensions, with 19 classes; see tests/models/test_models_contract.py.
PARAMETERS = {"B0": 3_719_027, "B1": 13_682_131, "B2": 27_361_235, "B3": 47_237_075, "B4": 64_007_635, "B5": 84_607_955}


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_name_is_the_published_network(name):
    with torch.device("meta"):
        model = getattr(segformer_pytorch, f"make_SegFormer{name}")(num_classes=19)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


def test_there_are_no_other_names():
    assert segformer_pytorch.__all__ == [f"make_SegFormer{name}" for name in PARAMETERS]


def test_options_are_fields_of_the_model_and_logits_have_a_quarter_of_the_size():
    model = segformer_pytorch.make_SegFormerB0(5, encoder={"depths": [1, 1, 1, 1]}, head={"channels": 8}).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 64, 96, dtype=torch.uint8)).shape == (2, 5, 16, 24)


@pytest.mark.parametrize("options", [{"decoder_dim": 8}, {"num_classes": 0}])
def test_what_is_no_field_is_named(options):
    with pytest.raises(ConfigurationError, match=rf"make_SegFormerB0: .*{next(iter(options))}"):
        segformer_pytorch.make_SegFormerB0(**{"num_classes": 5, **options})
