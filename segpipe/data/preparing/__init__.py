"""Preparing data sets: files that training needs and the published archives do not hold."""

from __future__ import annotations

from .catalogue import PREPARERS, Preparer
from .plans import Plan, Prepared, Task
from .preparation import download_dataset, prepare_dataset
from .published_archives import Archive

__all__ = ["PREPARERS", "Archive", "Plan", "Prepared", "Preparer", "Task", "download_dataset", "prepare_dataset"]
