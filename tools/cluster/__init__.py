"""A whole throw-away Kubernetes cluster on one Linux machine, without Docker.

Control plane, one containerd node, DNS, and when asked for a registry and a Gateway (Contour and Envoy), all as plain
processes in a network namespace of their own. `python -m cluster --help` is the command line, `cluster.Cluster` the
API; `testcontrol.ControlPlaneOnly` is the control plane alone, for tests that need no node and no root.
"""
