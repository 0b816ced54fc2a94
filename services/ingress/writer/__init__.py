"""What happens in a session becomes what its thread shows.

Pure: `view` and `turn` fold a session's log into `acts`; `blocks`, `questions` and `closing` build what people see;
`split`, `outbox`, `last`, `ledger`, `budget` and `holds` stand beside them. `pen` is the only hand that
writes: it keeps the budget, redacts, and tries again. With it `stream` and `live` show a turn while it runs, `settling`
brings `marks` and `controls` to the latest state, `once`, `posts` and `sayings` say things exactly once; `thread` puts them
together for one thread. `partition` owns threads and their place in the log, `leases` decides who owns which
partition, `reader` feeds them, `app` wires. What never belongs here: receiving from Slack, or writing to a session's log.
"""
