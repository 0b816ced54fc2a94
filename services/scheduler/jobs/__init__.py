"""Workers as Jobs of a Kubernetes cluster.

What belongs here: what a Job looks like and is called (`job`, `pools`, `naming`), what state one is in and what went wrong with it
in a person's words (`objects`, `state`, `reasons`: pure); the calls (`cluster`, the one place that knows the client library), what
the cluster has, kept at hand (`mirror`, `pods`), what is done about it while others work (`waiting`, `marks`, `deletions`); the
launcher made of them, the gate at which workers show who they are, and both wired up (`staffing`). What never does: sessions, turns, prompts, or a secret:
whoever may read Jobs could read it.
"""
