"""What Threadmill costs, measured beside a bare baseline in the same run.

Law: a benchmark reports medians and ratios, never passes or fails; what it measures runs in processes of its own, as in
production, with nothing faked but Slack and the model. Every run is bounded in messages and in time, and stays on
loopback.
"""
