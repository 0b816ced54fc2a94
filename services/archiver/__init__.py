"""The archiver: the session log into object storage, exactly once and in order, and back over request and reply.

What is archived follows from the stream and the bucket alone, never from what a consumer happened to deliver. It
decides nothing about sessions.
"""
