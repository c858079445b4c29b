"""Long work on many images: read part by part, interrupted and continued, shared by processes. Knows files and names.

`restore` and `degrade` say what is done with a part, `parts` does the parts that are not done yet, `output` is the
folder that holds them, `sources` and `masks` are where images and masks come from.
"""
