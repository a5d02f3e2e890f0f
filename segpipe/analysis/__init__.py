"""Looking into networks: attention, cost, speed, and two networks side by side."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .aligning import (
        NOISE_SIZE as NOISE_SIZE,
        Alignment as Alignment,
        align as align,
        differing_label_share as differing_label_share,
        differing_settings as differing_settings,
        load_unfolded as load_unfolded,
        noise_input as noise_input,
        picture_input as picture_input,
    )
    from .attention import AttentionQuery as AttentionQuery, Token as Token, see_attention as see_attention
    from .counting import (
        MacCount as MacCount,
        ParameterCount as ParameterCount,
        count_macs as count_macs,
        count_parameters as count_parameters,
        saved_bytes as saved_bytes,
    )
    from .profiling import Speed as Speed, measure_speed as measure_speed
    from .tensor_comparison import (
        Difference as Difference,
        WeightsComparison as WeightsComparison,
        compare_tensors as compare_tensors,
    )

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "aligning": (
            "NOISE_SIZE Alignment align differing_label_share differing_settings load_unfolded noise_input "
            "picture_input"
        ),
        "attention": "AttentionQuery Token see_attention",
        "counting": "MacCount ParameterCount count_macs count_parameters saved_bytes",
        "profiling": "Speed measure_speed",
        "tensor_comparison": "Difference WeightsComparison compare_tensors",
    },
)
