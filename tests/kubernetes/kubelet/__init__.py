"""A kubelet for tests: what a Pod's containers would run, it runs as processes of this machine.

Pure: what a container is told (`environment`), where on this machine the places are that it knows (`rewriting`), whether a
node has room (`placement`), what is said of a Pod (`status`). The rest acts: volumes, one container, its probes, one Pod,
the addresses of Services, and `cluster`, whose nodes and accidents a test uses.

What it does not do: walls. Users, read-only roots, limits of memory and network policies are written in the manifests and
checked there; a process here is the test's own user on the test's own machine.
"""
