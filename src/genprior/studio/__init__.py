"""The studio: pages in a browser that train, restore and look, by what the commands do. No logic of its own."""
