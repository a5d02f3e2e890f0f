"""The runtimes by name: which format each one opens, on which devices and in which types it computes."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe import advice
from segpipe.errors import InputError
from segpipe.names import unknown_name_message


@dataclass(frozen=True)
class Runtime:
    """What a runtime can do.

    Attributes:
        name: as users write it.
        format: of the file that it opens. If None, torch runs the network itself.
        dtypes: names of the types that it computes in.
        is_cpu_only: whether segpipe runs it on processors alone.
        opener: "module:function" in this folder, which opens a file for a dtype, see `open_session`.
    """

    name: str
    format: str | None
    dtypes: tuple[str, ...]
    is_cpu_only: bool
    opener: str = ""


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("eager", None, ("float32", "bfloat16", "float16"), is_cpu_only=False),
        Runtime("compiled", None, ("float32", "bfloat16", "float16"), is_cpu_only=False),
        Runtime("onnxruntime", "onnx", ("float32", "int8"), is_cpu_only=True, opener="onnx_session:open_onnx"),
        Runtime(
            "openvino",
            "openvino",
            ("float32", "bfloat16", "int8"),
            is_cpu_only=True,
            opener="openvino_session:open_openvino",
        ),
    )
}

DTYPES = tuple(dict.fromkeys(dtype for runtime in RUNTIMES.values() for dtype in runtime.dtypes))
"""Names of the types that one runtime or another computes in."""


def check_runtime(name: str, *, device: str, dtype: str) -> Runtime:
    """The runtime of a name, which can compute on this kind of device ("cpu", "cuda") and in this type.

    Raises:
        InputError: there is none of the name, or it cannot.
    """
    runtime = RUNTIMES.get(name)
    if runtime is None:
        raise InputError(unknown_name_message("runtime", name, RUNTIMES))
    if runtime.is_cpu_only and device != "cpu":
        raise InputError(
            f"The runtime {name!r} computes on the device 'cpu', not on {device!r}. "
            f"Leave the device out, or give {advice.argument('runtime', 'eager')}."
        )
    if dtype not in runtime.dtypes:
        able = " or ".join(repr(other.name) for other in RUNTIMES.values() if dtype in other.dtypes)
        raise InputError(
            f"The runtime {name!r} computes in {' or '.join(runtime.dtypes)}, not in {dtype}. "
            f"Give {advice.argument('dtype', runtime.dtypes[0])}, or the runtime {able}."
        )
    return runtime
