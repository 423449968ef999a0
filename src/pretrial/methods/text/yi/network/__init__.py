"""What Yi does to a network of Llama's layout.

- `context`: a longer context, by a higher base of the rotary positions.
- `depth`: copies of the layers that change their input least.
- `vision`: CLIP's patches as token vectors.
- `llava`: both models as one, in the layout of Llava.
"""
