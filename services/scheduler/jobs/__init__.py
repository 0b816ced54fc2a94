"""Workers as Jobs of a Kubernetes cluster.

What belongs here: what a Job looks like (`job`, `pools`: pure), what went wrong with one in a person's words (`reasons`:
pure), following the cluster's Jobs and Pods (`watch`), the calls (`cluster`, the one place that knows the client library),
and the launcher made of them. What never does: sessions, turns, prompts, or a secret: whatever can read Jobs could read it.
"""
