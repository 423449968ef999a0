"""Pages and plots: self-contained HTML with inline SVG, no network."""
