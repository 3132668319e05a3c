"""The table of orders and the picture of an answer's stages, made from the rows and the machine."""
