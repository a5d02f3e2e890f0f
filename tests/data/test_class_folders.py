"""Pictures with one class each: ImageNet's folders, lists, names, and samples without label maps."""

import numpy as np
import pytest
from PIL import Image

from segpipe import load_dataset
from segpipe.data import Sample, collate, concat
from segpipe.data.loader import build_loader
from segpipe.data.transforms.building import build_transforms
from segpipe.errors import InputError


def put(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), len(path), np.uint8)).save(root / path)
    return root


def contents(dataset):
    return [(dataset.pair(index).image.rpartition("/")[2], dataset[index].class_index) for index in range(len(dataset))]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    put(tmp_path, "train/n02/b.png", "train/n02/a.png", "train/n01/c.png", "val/n02/d.png")
    (tmp_path / "train/n01/notes.txt").write_text("no picture")
    (tmp_path / "train/.hidden").mkdir()
    train, val = (load_dataset("imagenet", tmp_path, split) for split in ("train", "val"))
    assert train.labels.names == val.labels.names == ("n01", "n02")
    assert contents(train) == [("c.png", 0), ("a.png", 1), ("b.png", 1)]
    assert contents(val) == [("d.png", 1)]
    assert train[0].label is None


def test_imagenets_own_file_names_the_classes(tmp_path):
    put(tmp_path, "train/n02/a.png", "train/n01/b.png", "train/n03/c.png")
    words = "n01 tench, Tinca tinca\nn02 crane\nn03 crane, the bird\n"
    (tmp_path / "LOC_synset_mapping.txt").write_text(words)
    dataset = load_dataset("imagenet", tmp_path)
    assert dataset.labels.names == ("tench", "crane (n02)", "crane (n03)")
    (tmp_path / "mine.txt").write_text("n03\nn01\nn02\n")
    assert load_dataset("imagenet", tmp_path, names="mine.txt").labels.names == ("n03", "n01", "n02")
    assert contents(load_dataset("imagenet", tmp_path, names="mine.txt"))[0] == ("b.png", 1)
    named = load_dataset("imagenet", tmp_path, names=["x", "y", "z"])
    assert named.labels.names == ("x", "y", "z")


def test_a_list_gives_paths_and_classes(tmp_path):
    put(tmp_path, "val/one.png", "val/a b/two.png", "train/cat/1.png", "train/dog/2.png")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/val.txt").write_text("one.png 1\na b/two.png cat\n")
    dataset = load_dataset("class-folders", tmp_path, "val", split_file="meta/val.txt")
    assert contents(dataset) == [("one.png", 1), ("two.png", 0)]
    assert dataset[0].image.shape == (6, 8, 3)
    assert (dataset.name, load_dataset("imagenet", tmp_path).name) == (tmp_path.name, "imagenet")


def test_lists_alone_number_the_classes_over_all_of_them(tmp_path):
    put(tmp_path, "pictures/1.png", "pictures/2.png")
    (tmp_path / "train.txt").write_text("pictures/1.png 4\n")
    (tmp_path / "val.txt").write_text("pictures/2.png 0\n")
    train, val = (load_dataset("imagenet", tmp_path, split) for split in ("train", "val"))
    assert train.labels.names == val.labels.names == tuple(f"class {index}" for index in range(5))
    assert (contents(train), contents(val)) == ([("1.png", 4)], [("2.png", 0)])


@pytest.mark.parametrize(
    ("line", "message"),
    [("one.png", "has no class"), ("one.png 7", "There is no class '7'"), ("two.png 0", "names two.png, which is")],
)
def test_lists_that_are_wrong_are_explained(tmp_path, line, message):
    put(tmp_path, "train/cat/1.png", "val/one.png")
    (tmp_path / "val.txt").write_text(f"{line}\n")
    with pytest.raises(InputError, match=message):
        load_dataset("imagenet", tmp_path, "val")


def test_folders_that_do_not_fit_are_explained(tmp_path):
    put(tmp_path, "train/cat/1.png", "val/cow/1.png")
    with pytest.raises(InputError, match="the folder of a class that train/"):
        load_dataset("imagenet", tmp_path, "val")
    with pytest.raises(InputError, match="2 names for 1 folders"):
        load_dataset("imagenet", tmp_path, names=["a", "b"])
    (tmp_path / "classes.txt").write_text("dog\n")
    with pytest.raises(InputError, match="does not name the class 'cat'"):
        load_dataset("imagenet", tmp_path)


def test_what_needs_label_maps_says_so(tmp_path):
    dataset = load_dataset("imagenet", put(tmp_path, "train/cat/1.png"))
    for change in (lambda: concat([dataset]), lambda: load_dataset("imagenet", tmp_path, classes=["cat"])):
        with pytest.raises(InputError, match="has no label maps"):
            change()


def test_a_thousand_classes_leave_the_ignored_value_out(tmp_path):
    (tmp_path / "train.txt").write_text("1.png 999\n")
    put(tmp_path, "1.png")
    assert load_dataset("imagenet", tmp_path).labels.ignore_index == 65535


def test_slices_and_repetitions_are_smaller_and_longer_data_sets(tmp_path):
    dataset = load_dataset("imagenet", put(tmp_path, *(f"train/{name}/1.png" for name in "abc")))
    assert contents(dataset[1:]) == [("1.png", 1), ("1.png", 2)]
    from segpipe.data import repeat

    assert [repeat(dataset, 2)[index].class_index for index in range(6)] == [0, 1, 2, 0, 1, 2]
    with pytest.raises(IndexError, match="has 3"):
        dataset.pair(3)


def test_batches_of_classes_have_one_index_per_image(tmp_path):
    dataset = load_dataset("imagenet", put(tmp_path, *(f"train/{name}/1.png" for name in "abc")))
    chain = build_transforms([], ignore_index=255, fill=(0, 0, 0))
    with build_loader(dataset, chain, batch_size=3, seed=1) as loader:
        batch = next(loader)
    assert sorted(batch.labels.tolist()) == [0, 1, 2]
    assert batch.images.shape == (3, 3, 6, 8)
    with pytest.raises(InputError, match="has no class"):
        collate([dataset[0], Sample(dataset[0].image, None, "other")])


def test_classes_without_an_image_are_named_and_a_split_without_any_is_refused(tmp_path, caplog):
    put(tmp_path, "train/n02/b.png")
    for folder in ("train/n01", "train/n03", "val/n02"):
        (tmp_path / folder).mkdir(parents=True)
    assert len(load_dataset("class-folders", tmp_path)) == 1
    assert f"2 of 3 classes have no image in {tmp_path / 'train'}: n01, n03" in caplog.text
    with pytest.raises(InputError, match=r"class-folders val in .* has no samples"):
        load_dataset("class-folders", tmp_path, "val")
