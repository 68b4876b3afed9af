"""Control editor: a picture, its map, and what people change in it."""
