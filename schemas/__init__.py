"""What the services say to each other, and nothing else.

Pure data: msgspec Structs, the map of the bus, session keys, and what the data means to every reader alike. What never
belongs here: I/O, what one service decides, or any import but msgspec and the standard library. Every message is a Struct
that names its subject; a new field has a default, so that old and new services understand each other.
"""
