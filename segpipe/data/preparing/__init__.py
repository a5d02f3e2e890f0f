"""Preparing data sets: files that training needs and the published archives do not hold."""

from __future__ import annotations

from .archives import Archive
from .catalogue import PREPARERS, Preparer
from .plans import Plan, Prepared, Task
from .preparation import download_dataset, prepare_dataset

__all__ = ["PREPARERS", "Archive", "Plan", "Prepared", "Preparer", "Task", "download_dataset", "prepare_dataset"]
