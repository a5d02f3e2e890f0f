"""A model's scores on a data set: the same whatever the batches and processes; errors name the picture."""

import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import multiprocessing

from segpipe import evaluate, load_model, pipeline
from segpipe.configuration import InferenceConfig, LabelSet, PreprocessorConfig, ShortSideResize, load_preset
from segpipe.errors import InputError, SegpipeError
from segpipe.evaluation import ConfusionMatrix
from segpipe.evaluation.classes import match_classes
from segpipe.inference import ExportedNetwork

MODEL = "segformer-b0-camvid"
LABELS = load_preset(MODEL).labels


@dataclass(frozen=True, eq=False)
class Sample:
    image: np.ndarray
    label: np.ndarray | None
    name: str


@dataclass(frozen=True)
class Scenes:
    """Coloured pictures of several sizes with labels that hold every class and the ignore index."""

    length: int = 5
    labels: LabelSet = LABELS
    broken: int | None = None

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.broken:
            raise InputError(f"scene-{index}.png cannot be read")
        rng = np.random.default_rng(index)
        size = (40 + 8 * (index % 2), 56)
        image = np.kron(rng.integers(0, 256, (size[0] // 8, 7, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
        label = rng.integers(0, len(self.labels.names) + 1, size)
        label[label == len(self.labels.names)] = self.labels.ignore_index
        return Sample(image, label, f"scene-{index}.png")


@pytest.fixture(scope="module")
def network():
    return load_model(MODEL)


def test_scores_are_those_of_the_pipelines_label_maps():
    scenes, segment, matrix = Scenes(3), pipeline("image-segmentation", MODEL), ConfusionMatrix(11, LABELS.ignore_index)
    for index in range(len(scenes)):
        matrix.update(prediction=segment(scenes[index].image).label_map, label=scenes[index].label)
    scores = evaluate(MODEL, scenes)
    assert scores.to_dict() == matrix.scores(LABELS.names).to_dict()
    assert list(scores.iou) == list(LABELS.names)
    assert 0 < scores.miou < 1


def test_a_network_is_seen_with_the_configuration_that_is_given(network):
    configuration = load_preset(MODEL)
    scores = evaluate(network, Scenes(2), configuration=configuration)
    assert scores.to_dict() == evaluate(MODEL, Scenes(2)).to_dict()
    other = PreprocessorConfig(resize=ShortSideResize(size=96))
    plain, resized = {}, {}
    evaluate(network, Scenes(2), on_picture=plain.__setitem__)
    evaluate(
        network, Scenes(2), on_picture=resized.__setitem__,
        configuration=type(configuration)(model=configuration.model, preprocessor=other),
    )  # fmt: skip
    assert list(plain) == ["scene-0.png", "scene-1.png"]
    assert (plain["scene-0.png"] != resized["scene-0.png"]).any()


@pytest.mark.parametrize(("batch_size", "readers"), [(2, 0), (3, 2), (64, 4)])
def test_counts_do_not_depend_on_batches_or_readers(network, batch_size, readers):
    scores = evaluate(network, Scenes(), batch_size=batch_size, readers=readers)
    assert scores.to_dict() == evaluate(network, Scenes()).to_dict()


def test_inference_says_how_pictures_are_seen(network):
    windows, whole = {}, {}
    slide = InferenceConfig(mode="slide", window=(24, 24), stride=(16, 16), flip=True)
    scores = evaluate(network, Scenes(), inference=slide, on_picture=windows.__setitem__, batch_size=2)
    evaluate(network, Scenes(), on_picture=whole.__setitem__)
    assert 0 < scores.miou < 1
    assert any((windows[name] != whole[name]).any() for name in whole)


def test_boundary_iou_comes_when_asked_for(network):
    assert evaluate(network, Scenes(2)).boundary_iou is None
    scores = evaluate(network, Scenes(2), boundary_ratio=0.02)
    assert 0 < scores.boundary_miou < 1


def test_shards_together_are_the_whole(network):
    def share(index, number):
        maps = {}
        evaluate(network, Scenes(), shard=(index, number), on_picture=maps.__setitem__)
        return list(maps)

    assert share(0, 2) == ["scene-0.png", "scene-2.png", "scene-4.png"]
    assert share(1, 2) == ["scene-1.png", "scene-3.png"]


def test_a_network_is_given_back_in_its_own_mode(network):
    network.train()
    network.head.fuse.eval()  # frozen
    try:
        evaluate(network, Scenes(1))
        assert network.training
        assert not network.head.fuse.training
        assert network.encoder.training
    finally:
        network.eval()


def test_what_cannot_be_scored_says_why(network):
    with pytest.raises(InputError, match="no images"):
        evaluate(network, Scenes(0))
    with pytest.raises(InputError, match="batch_size is 0"):
        evaluate(network, Scenes(), batch_size=0)
    with pytest.raises(InputError, match="12 classes"):
        evaluate(network, Scenes(labels=LabelSet(names=tuple("abcdefghijkl"))))
    with pytest.raises(InputError, match="used where it is"):
        evaluate(network, Scenes(), device="meta")


def test_errors_name_the_picture(network):
    class Unlabelled(Scenes):
        def __getitem__(self, index):
            return Sample(super().__getitem__(index).image, None, f"scene-{index}.png")

    class Turned(Scenes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return Sample(sample.image, sample.label.T, sample.name)

    with pytest.raises(InputError, match=r"scene-0\.png has no label"):
        evaluate(network, Unlabelled())
    with pytest.raises(InputError, match=r"scene-0\.png: The prediction is \(40, 56\)"):
        evaluate(network, Turned())
    with pytest.raises(InputError, match=r"scene-3\.png cannot be read"):
        evaluate(network, Scenes(broken=3))


def test_a_bar_is_shown_when_asked_for(network, capsys, monkeypatch):
    monkeypatch.setattr("segpipe.progress_bars.is_watched", lambda: True)
    evaluate(network, Scenes(2), progress=True)
    assert "evaluate:   0%" in capsys.readouterr().err
    evaluate(network, Scenes(2))
    assert not capsys.readouterr().err


def test_classes_are_matched_by_name_where_all_are_known(caplog):
    model = LabelSet(names=("road", "sky", "car"))
    assert match_classes(model, 3, model) is None
    assert match_classes(None, 3, LabelSet(names=("a", "b", "c"))) is None
    assert match_classes(model, 4, LabelSet(names=("car", "road"))).tolist() == [1, 2, 0, 2]
    with caplog.at_level(logging.WARNING, logger="segpipe"):
        assert match_classes(model, 3, LabelSet(names=("street", "sky", "car"))) is None
    assert "'street'" in caplog.text
    with pytest.raises(InputError, match=r"'street'.*3 classes, has none"):
        match_classes(model, 3, LabelSet(names=("street", "sky")))


def test_classes_that_the_data_set_lacks_are_wrong(network):
    """CamVid's model on two of its classes, in another order: what it says of the others counts as wrong."""
    names = (LABELS.names[3], LABELS.names[0])
    maps, matrix, scenes = {}, ConfusionMatrix(2), Scenes(2, LabelSet(names=names))
    scores = evaluate(
        network, scenes, configuration=load_preset(MODEL), on_picture=maps.__setitem__
    )  # fmt: skip
    for index in range(2):
        own = maps[scenes[index].name]
        matrix.update(prediction=np.select([own == 3, own == 0], [0, 1], 7), label=scenes[index].label)
    assert scores.to_dict() == matrix.scores(names).to_dict()


def in_process(rank, world_size, length, folder, broken):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    try:
        scores = evaluate(MODEL, Scenes(length, broken=broken), boundary_ratio=0.02, readers=0).to_dict()
    except SegpipeError as error:
        scores = str(error)
    torch.save(scores, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_agree_on_the_scores_of_one(tmp_path, network):
    """The third of them has no picture."""
    multiprocessing.spawn(in_process, (3, 2, str(tmp_path), None), nprocs=3)
    expected = evaluate(MODEL, Scenes(2), boundary_ratio=0.02).to_dict()
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)] == [expected] * 3


def test_an_error_in_one_process_ends_them_all(tmp_path):
    multiprocessing.spawn(in_process, (2, 2, str(tmp_path), 1), nprocs=2)
    assert torch.load(tmp_path / "1.pt") == "scene-1.png cannot be read"
    assert "another process" in torch.load(tmp_path / "0.pt")


class Direct:
    """A session of a runtime that runs the network itself."""

    def __init__(self, network):
        self.network = network

    def run(self, images):
        with torch.inference_mode():
            return (self.network(images).permute(0, 2, 3, 1).contiguous(),)


def test_a_network_that_another_runtime_executes_has_the_same_scores(network):
    configuration = load_preset(MODEL)
    exported = ExportedNetwork(Direct(network), network, network.config.pixel_mean)
    expected = evaluate(network, Scenes(), configuration=configuration)
    assert evaluate(exported, Scenes(), configuration=configuration).to_dict() == expected.to_dict()
