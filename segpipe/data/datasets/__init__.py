"""Open data sets: a module for each registers it, and the other modules find, open and combine their files.

Importing this package imports all of its modules, so that a new data set is one new file, and its label set beside it.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
