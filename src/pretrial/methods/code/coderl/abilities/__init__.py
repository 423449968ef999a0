"""What a trained CodeRL does: critic sampling (`search`), and how good its critic is."""
