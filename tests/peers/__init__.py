"""Other projects' test suites, with drainkit around what they test."""
