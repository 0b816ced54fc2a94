"""What happens in a session becomes what its thread shows.

`view` folds a session's log into what should be seen, `blocks`, `split`, `redact`, `budget` and `ledger` are pure beside
it. `pen` is the only hand that writes: it keeps the budget, redacts, and tries again. `live` is a turn's streaming
message, `marks` what follows the latest state alone, `posts` what is said exactly once; `thread` puts them together for
one thread. `partition` owns its threads and the place in the log, `leases` decides who owns which partition, `reader`
feeds them. What never belongs here: receiving from Slack, or writing to a session's log.
"""
