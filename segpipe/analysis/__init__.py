"""Looking into networks: attention, cost, speed, and two networks side by side."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .aligning import (
        SCENE_SIZE as SCENE_SIZE,
        Alignment as Alignment,
        Difference as Difference,
        ModelAlignment as ModelAlignment,
        WeightsComparison as WeightsComparison,
        align as align,
        align_models as align_models,
        compare_weights as compare_weights,
    )
    from .attention import AttentionQuery as AttentionQuery, Token as Token, see_attention as see_attention
    from .counting import (
        MacCount as MacCount,
        ParameterCount as ParameterCount,
        count_macs as count_macs,
        count_parameters as count_parameters,
        saved_bytes as saved_bytes,
    )
    from .profiling import (
        Profile as Profile,
        Speed as Speed,
        measure_speed as measure_speed,
        profile_model as profile_model,
    )

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "aligning": (
            "SCENE_SIZE Alignment Difference ModelAlignment WeightsComparison align align_models compare_weights"
        ),
        "attention": "AttentionQuery Token see_attention",
        "counting": "MacCount ParameterCount count_macs count_parameters saved_bytes",
        "profiling": "Profile Speed measure_speed profile_model",
    },
)
