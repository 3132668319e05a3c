"""What cases and measures are called, where those who measure and those who tell must agree."""

# Whole servers.
GET = "GET"
READ = "POST of 1 KiB, read"
EARLY = "POST of 1 KiB, answered early"
EARLY_LONG = "POST of 64 KiB, answered early"
CPU = "CPU for each request"
CPU_RATIO = "CPU / without"
CONNECTIONS = "new connections for each request"
LOST = "answers lost"
INSTRUCTIONS = "instructions for each request"
INSTRUCTIONS_RATIO = "instructions / without"

# Slow uploads.
SLOW = "slow uploads at once"
MEMORY = "memory for each"
LAG = "lag of the event loop, p99"
WAIT = "a GET beside them, p99"

# The profile.
CALLS = "calls for each request"
SHARE = "share of drainkit's own time"
ALL = "all of drainkit"
