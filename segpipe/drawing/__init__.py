"""Results as images: overlays, legends, heat maps and charts."""
