"""The runtimes by name: which format each one opens, on which devices and in which types it computes."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe import advice
from segpipe.errors import InputError
from segpipe.names import unknown_name_message
from segpipe.registry import Registry, load_attribute


@dataclass(frozen=True)
class Runtime:
    """What a runtime can do.

    Attributes:
        name: as users write it.
        format: of the file that it opens. If None, torch runs the network itself.
        dtypes: names of the types that it computes in.
        is_cpu_only: whether segpipe runs it on processors alone.
        opener: "module:function" that opens a file: (path, dtype, device) → `Session`.
        dtype_check: "module:function" that raises InputError for a dtype that this processor lacks, before a file is
            made for it.
    """

    name: str
    format: str | None
    dtypes: tuple[str, ...]
    is_cpu_only: bool
    opener: str = ""
    dtype_check: str = ""


_FLOATS = ("float32", "bfloat16", "float16")
_INT8 = ("float32", "bfloat16", "int8")
RUNTIMES: Registry[Runtime] = Registry("runtime")
"""The runtimes by name. One that opens files needs a module with its session, and its line."""
for _runtime in (
    Runtime("eager", None, _FLOATS, is_cpu_only=False),
    Runtime("compiled", None, _FLOATS, is_cpu_only=False),
    Runtime(
        "onnxruntime", "onnx", ("float32", "int8"), is_cpu_only=True, opener=f"{__package__}.onnx_session:open_onnx"
    ),
    Runtime(
        "openvino",
        "openvino",
        _INT8,
        is_cpu_only=True,
        opener=f"{__package__}.openvino_session:open_openvino",
        dtype_check=f"{__package__}.openvino_session:check_dtype",
    ),
):
    RUNTIMES.register(_runtime.name)(_runtime)

DTYPES = (*_FLOATS, "int8")
"""Names of the types that one runtime or another computes in."""


def check_runtime(name: str, *, device: str, dtype: str) -> Runtime:
    """Return the runtime of a name, which can compute on this kind of device ("cpu", "cuda") and in this type.

    Raises:
        InputError: the name is unknown, or the runtime cannot.
    """
    if name not in RUNTIMES:
        raise InputError(unknown_name_message("runtime", name, RUNTIMES))
    runtime = RUNTIMES.get(name)
    if runtime.is_cpu_only and device != "cpu":
        raise InputError(
            f"The runtime {name!r} computes on the device 'cpu', not on {device!r}. "
            f"Leave the device out, or give {advice.argument('runtime', 'eager')}."
        )
    if dtype not in runtime.dtypes:
        able = " or ".join(repr(other.name) for other in map(RUNTIMES.get, RUNTIMES) if dtype in other.dtypes)
        raise InputError(
            f"The runtime {name!r} computes in {' or '.join(runtime.dtypes)}, not in {dtype}. "
            f"Give {advice.argument('dtype', runtime.dtypes[0])}, or the runtime {able}."
        )
    if runtime.dtype_check:
        load_attribute(runtime.dtype_check)(dtype)
    return runtime
