"""Draw results as images: overlays, legends, heat maps and charts."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .charts import (
        BLUE as BLUE,
        CHART_COLORS as CHART_COLORS,
        GREEN as GREEN,
        ORANGE as ORANGE,
        Color as Color,
        Curve as Curve,
        draw_chart as draw_chart,
    )
    from .heat_maps import COLOR_MAPS as COLOR_MAPS, draw_heat_page as draw_heat_page
    from .legend import (
        draw_legend as draw_legend,
        fitting_font as fitting_font,
        format_share as format_share,
        height_of as height_of,
        side_by_side as side_by_side,
    )
    from .lettering import INK as INK, PAPER as PAPER, QUIET_INK as QUIET_INK, find_font as find_font
    from .name_boxes import draw_names as draw_names
    from .notebooks import (
        draw_small_overlay as draw_small_overlay,
        html_figure as html_figure,
        show_image as show_image,
    )
    from .overlay import (
        OPACITY as OPACITY,
        apply_borders as apply_borders,
        blend as blend,
        brighten as brighten,
        colorize as colorize,
        complete_palette as complete_palette,
        draw_overlay as draw_overlay,
    )
    from .writing import (
        encode_image as encode_image,
        write_bytes as write_bytes,
        write_image as write_image,
        write_label_map as write_label_map,
    )

__getattr__, __dir__, __all__ = lazy_names(__name__)
