"""What the services say to each other, and nothing else.

Pure data: msgspec Structs, the map of the bus, session keys. What never belongs here: I/O, decisions, or any import but
msgspec and the standard library. Every message is a Struct that names its subject; a new field has a default, so that
old and new services understand each other.
"""
