"""Look into networks: attention, cost, speed, two networks side by side; and into the installation that runs them."""

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
    from .attention import (
        AttentionQuery as AttentionQuery,
        Token as Token,
        draw_attention as draw_attention,
        read_token as read_token,
        see_attention as see_attention,
        usual_token as usual_token,
    )
    from .counting import (
        MacCount as MacCount,
        ParameterCount as ParameterCount,
        count_macs as count_macs,
        count_parameters as count_parameters,
        saved_bytes as saved_bytes,
    )
    from .installation import (
        REQUIRED as REQUIRED,
        RUNTIME_PACKAGES as RUNTIME_PACKAGES,
        Finding as Finding,
        Section as Section,
        examine as examine,
        examine_opencv as examine_opencv,
        examine_versions as examine_versions,
    )
    from .profiling import (
        Profile as Profile,
        Speed as Speed,
        measure_speed as measure_speed,
        profile_model as profile_model,
    )

__getattr__, __dir__, __all__ = lazy_names(__name__)
